/**
 * The part of the Java classes of MNN's Android demo that the app uses, to compile against where MNN's repository is out
 * of reach. It is never packaged: without MNN's own classes the app says that MNN is not part of it.
 */
package com.taobao.android.mnn;
