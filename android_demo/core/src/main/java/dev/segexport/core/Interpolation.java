package dev.segexport.core;

/** The kernels of the contract; each but NEAREST is OpenCV's of the same name on float32. */
public enum Interpolation {
    NEAREST,
    LINEAR,
    CUBIC,
    AREA,
    LANCZOS4;

    static Interpolation parse(String name) throws SegmentationException {
        for (Interpolation value : values()) {
            if (value.name().toLowerCase(java.util.Locale.ROOT).equals(name)) {
                return value;
            }
        }
        throw new SegmentationException(
                SegmentationException.Kind.UNSUPPORTED, "interpolation \"" + name + "\" is not one of the contract's");
    }
}
