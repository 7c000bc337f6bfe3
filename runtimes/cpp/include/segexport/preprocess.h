#pragma once

#include <string>
#include <vector>

#include "segexport/image.h"

namespace segexport {

enum class Interpolation { nearest, linear, cubic, area, lanczos4 };

/// What a network's channels are.
enum class Color { rgb, bgr, gray, bgra, channels };

/// One operation on the size of an image, or a clip of its values. Only the fields of its kind count.
struct Geometry {
    enum class Kind {
        resize, resize_short, resize_long, limit_long, limit_short, resize_to_multiple, pad, pad_to_ratio,
        pad_to_multiple, clip,
    };

    Kind kind = Kind::resize;
    std::string name;  ///< As the manifest has it.
    Interpolation interpolation = Interpolation::linear;
    int width = 0, height = 0, size = 0, min_size = 0, max_size = 0, multiple = 0, size_divisor = 1;
    double ratio = 0;
    bool keep_ratio = false;
    std::vector<float> value, low, high;  ///< One number for each channel, in the contract's order.

    bool pads() const { return kind == Kind::pad || kind == Kind::pad_to_ratio || kind == Kind::pad_to_multiple; }
    bool clips() const { return kind == Kind::clip; }

    /// @throws Error  The image does not fit into a padding, or would become too large.
    Size after(Size image) const;
};

/// Where an image lies in its tensor: its size before and after each operation. The way back for masks.
struct Placement {
    std::vector<Size> sizes;
    std::vector<bool> padded;  ///< Of each operation, whether the image kept its pixels.

    Size image() const { return sizes.front(); }
    Size tensor() const { return sizes.back(); }
};

/// The network's input: float32, 1 x channels x height x width.
struct Tensor {
    int channels = 0;
    Size size;
    std::vector<float> values;
};

/// From an image to the network's input: the contract of the manifest, equal to segexport's Python and Java.
class Preprocess {
public:
    Color color = Color::rgb;
    bool stored = false;  ///< Whether the values are taken as a file stores them, and not as 8 bits.
    std::vector<Geometry> geometry;
    float scale = 1.0f / 255.0f;
    std::vector<float> mean, std;

    int channels() const { return static_cast<int>(mean.size()); }

    /// Whether 8-bit colours are enough.
    bool takes_pictures() const;

    /// Works out the sizes that an image goes through; no pixel is touched.
    Placement place(Size image) const;

    /// @throws Error  The model takes other channels than a picture has.
    Tensor apply(const Picture& picture, const Placement& placement) const;

    /// The same for an image whose channels are given: as a file stores them, colours as red, green and blue.
    Tensor apply(const FloatImage& image, const Placement& placement) const;

private:
    Tensor finish(FloatImage image, const Placement& placement, std::size_t next) const;
};

/// The pixel of a side of `to` pixels that lies under the centre of pixel `index` of a side of `from` pixels.
int nearest_pixel(int index, int from, int to);

/// Brings a mask back to the size of the image: paddings are cut off, resizes are undone by nearest neighbour.
Mask restore(const Mask& mask, const Placement& placement);

}  // namespace segexport
