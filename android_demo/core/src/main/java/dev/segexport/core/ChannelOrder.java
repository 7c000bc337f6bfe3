package dev.segexport.core;

/** What a network's channels are, and how they come out of a picture's colours. */
enum ChannelOrder {
    RGB(3, false),
    BGR(3, true),
    /** Of colours (9798 R + 19235 G + 3735 B + 16384) / 2^15, rounded down, as OpenCV's COLOR_RGB2GRAY. */
    GRAY(1, false),
    /** Four channels of which the first and the third change places. */
    BGRA(4, true),
    /** A file's own channels, any number of them, in its order. */
    CHANNELS(0, false);

    /** How many channels there are; 0: any number. */
    final int count;

    /** Whether the first and the third channel of an image change places. */
    final boolean swaps;

    ChannelOrder(int count, boolean swaps) {
        this.count = count;
        this.swaps = swaps;
    }

    static ChannelOrder parse(String name) throws SegmentationException {
        for (ChannelOrder order : values()) {
            if (order.name().equals(name.toUpperCase(java.util.Locale.ROOT)) && !name.equals(order.name())) {
                return order;
            }
        }
        throw new SegmentationException(SegmentationException.Kind.UNSUPPORTED, "colour order \"" + name + "\"");
    }

    /** Whether the 8-bit colours of a picture are enough. */
    boolean isOfColours() {
        return this == RGB || this == BGR || this == GRAY;
    }

    static int grey(int argb) {
        return 9798 * (argb >> 16 & 255) + 19235 * (argb >> 8 & 255) + 3735 * (argb & 255) + 16384 >> 15;
    }
}
