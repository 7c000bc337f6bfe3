package android.content;

/** Android's, for a compiler without Android: it is part of a signature and never used. */
public abstract class Context {}
