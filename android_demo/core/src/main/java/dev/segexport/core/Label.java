package dev.segexport.core;

/** A class of the model. */
public final class Label {
    public final int id;
    public final String name;
    /** 0xFFRRGGBB. */
    public final int argb;

    Label(int id, String name, int argb) {
        this.id = id;
        this.name = name;
        this.argb = argb;
    }
}
