/**
 * The part of Paddle-Lite's Java API that the app uses, to compile against where the official PaddlePredictor.jar is not
 * at hand. It is never packaged: without the official jar and libpaddle_lite_jni.so the app says that Paddle-Lite is
 * not part of it.
 */
package com.baidu.paddle.lite;
