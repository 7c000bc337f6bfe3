package android.os;

/** Only passed on: the doubles of the camera answer when the test says so. */
public class Handler {}
