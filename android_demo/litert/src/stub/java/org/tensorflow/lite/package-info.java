/**
 * The part of LiteRT's Java API that the app uses, to compile against where Google's Maven repository is out of reach.
 * It is never packaged: without LiteRT's own classes the app says that LiteRT is not part of it.
 */
package org.tensorflow.lite;
