#include "segexport/preprocess.h"

#include <algorithm>
#include <cmath>

#include "resize.h"
#include "segexport/error.h"

namespace segexport {
namespace {

std::string text(Size size) { return std::to_string(size.width) + "x" + std::to_string(size.height); }

/// A side in pixels; what is no size at all becomes one that `Geometry::after` refuses.
int whole(double side) { return static_cast<int>(std::clamp(side, 0.0, 2e9)); }

/// `nearbyint` rounds halves to even, as Python's `round`.
Size scaled(Size image, double scale) {
    return {std::max(1, whole(std::nearbyint(image.width * scale))),
            std::max(1, whole(std::nearbyint(image.height * scale)))};
}

int up_to_multiple(int side, int multiple) {
    return whole(static_cast<double>((static_cast<std::int64_t>(side) + multiple - 1) / multiple * multiple));
}

Size limited(const Geometry& op, Size image, int side) {
    if (op.max_size > 0 && side > op.max_size) {
        return scaled(image, static_cast<double>(op.max_size) / side);
    }
    return op.min_size > 0 && side < op.min_size ? scaled(image, static_cast<double>(op.min_size) / side) : image;
}

Size size_after(const Geometry& op, Size image) {
    const int w = image.width, h = image.height, longer = std::max(w, h), shorter = std::min(w, h);
    switch (op.kind) {
        case Geometry::Kind::resize: {
            Size to{op.width, op.height};
            if (op.keep_ratio) {
                to = scaled(image, std::min(static_cast<double>(op.width) / w, static_cast<double>(op.height) / h));
            }
            return {up_to_multiple(to.width, op.size_divisor), up_to_multiple(to.height, op.size_divisor)};
        }
        case Geometry::Kind::resize_short: {
            double scale = static_cast<double>(op.size) / shorter;
            if (op.max_size > 0 && std::nearbyint(longer * scale) > op.max_size) {
                scale = static_cast<double>(op.max_size) / longer;
            }
            return scaled(image, scale);
        }
        case Geometry::Kind::resize_long: return scaled(image, static_cast<double>(op.size) / longer);
        case Geometry::Kind::limit_long: return limited(op, image, longer);
        case Geometry::Kind::limit_short: return limited(op, image, shorter);
        case Geometry::Kind::resize_to_multiple:
            return {std::max(op.multiple, w - w % op.multiple), std::max(op.multiple, h - h % op.multiple)};
        case Geometry::Kind::pad_to_multiple:
            return {up_to_multiple(w, op.multiple), up_to_multiple(h, op.multiple)};
        case Geometry::Kind::pad_to_ratio:
            if (static_cast<double>(w) / h > op.ratio) {
                return {w, std::max(h, whole(w / op.ratio))};
            }
            return {std::max(w, whole(h * op.ratio)), h};
        case Geometry::Kind::clip: return image;
        case Geometry::Kind::pad: break;
    }
    if (w > op.width || h > op.height) {
        throw Error("an image of " + text(image) + " does not fit into a padding to " + text({op.width, op.height}),
                    "the preprocessing pads and does not shrink");
    }
    return {op.width, op.height};
}

FloatImage floats_of(const Picture& picture, PictureOrder order) {
    const std::size_t pixels = picture.size.pixels();
    const std::uint8_t* rgb = picture.rgb.data();
    if (order == PictureOrder::gray) {
        FloatImage image{picture.size, 1, std::vector<float>(pixels)};
        for (std::size_t i = 0; i < pixels; ++i, rgb += 3) {
            image.values[i] = static_cast<float>(gray(rgb[0], rgb[1], rgb[2]));
        }
        return image;
    }
    FloatImage image{picture.size, 3, std::vector<float>(3 * pixels)};
    const int first = order == PictureOrder::bgr ? 2 : 0;
    float* out = image.values.data();
    for (std::size_t i = 0; i < pixels; ++i, rgb += 3, out += 3) {
        out[0] = rgb[first];
        out[1] = rgb[1];
        out[2] = rgb[2 - first];
    }
    return image;
}

FloatImage padded(const FloatImage& image, Size size, const std::vector<float>& value) {
    const std::size_t channels = image.channels, row = channels * image.size.width, stride = channels * size.width;
    FloatImage result{size, image.channels, std::vector<float>(stride * size.height)};
    for (std::size_t at = 0; at < result.values.size(); at += channels) {
        std::copy(value.begin(), value.end(), result.values.begin() + at);
    }
    for (int y = 0; y < image.size.height; ++y) {
        const auto from = image.values.begin() + y * row;
        std::copy(from, from + row, result.values.begin() + y * stride);
    }
    return result;
}

void clip(FloatImage& image, const std::vector<float>& low, const std::vector<float>& high) {
    const std::size_t channels = image.channels;
    for (std::size_t i = 0; i < image.values.size(); ++i) {
        image.values[i] = std::min(std::max(image.values[i], low[i % channels]), high[i % channels]);
    }
}

}  // namespace

Size Geometry::after(Size image) const {
    const Size size = size_after(*this, image);
    if (static_cast<std::int64_t>(size.width) * size.height > kMaxPixels) {
        throw Error("an image of " + text(image) + " would become " + text(size) + " by " + name,
                    "the limit is " + std::to_string(kMaxPixels / 1'000'000) + " million pixels");
    }
    return size;
}

bool Preprocess::takes_pictures() const {
    return !stored && (color == Color::rgb || color == Color::bgr || color == Color::gray);
}

Placement Preprocess::place(Size image) const {
    if (image.width < 1 || image.height < 1) {
        throw Error("the image has no pixels (" + text(image) + ")");
    }
    Placement placement{{image}, {}};
    for (const Geometry& op : geometry) {
        placement.sizes.push_back(op.after(placement.sizes.back()));
        placement.padded.push_back(op.pads() || op.clips());
    }
    return placement;
}

Tensor Preprocess::apply(const Picture& picture, const Placement& placement) const {
    if (!takes_pictures()) {
        throw Error("this model takes " + std::to_string(channels()) + " channels as a file stores them",
                    "a picture has 8-bit red, green and blue",
                    "give the channels themselves: Model::segment(const FloatImage&)");
    }
    const PictureOrder order = color == Color::rgb   ? PictureOrder::rgb
                               : color == Color::bgr ? PictureOrder::bgr
                                                     : PictureOrder::gray;
    // A resize that comes first reads the picture itself: a photo of 12 megapixels is never copied as floats.
    for (std::size_t i = 0; i < geometry.size() && !geometry[i].clips(); ++i) {
        const Size size = placement.sizes[i + 1];
        if (size != picture.size) {
            return finish(geometry[i].pads() ? padded(floats_of(picture, order), size, geometry[i].value)
                                             : resize(picture, order, size, geometry[i].interpolation),
                          placement, i + 1);
        }
    }
    return finish(floats_of(picture, order), placement, 0);
}

Tensor Preprocess::apply(const FloatImage& image, const Placement& placement) const {
    if (image.channels != channels()) {
        throw Error("an image of " + std::to_string(image.channels) + " channels, this model takes " +
                    std::to_string(channels()));
    }
    FloatImage own = image;
    if (color == Color::bgr || color == Color::bgra) {
        for (std::size_t i = 0; i < own.values.size(); i += own.channels) {
            std::swap(own.values[i], own.values[i + 2]);
        }
    }
    return finish(std::move(own), placement, 0);
}

/// Carries out the operations from `next` on, then (value * scale - mean) / std in float32, in this order.
Tensor Preprocess::finish(FloatImage image, const Placement& placement, std::size_t next) const {
    for (std::size_t i = next; i < geometry.size(); ++i) {
        const Geometry& op = geometry[i];
        const Size size = placement.sizes[i + 1];
        if (op.clips()) {
            clip(image, op.low, op.high);
        } else if (size != image.size) {
            image = op.pads() ? padded(image, size, op.value) : resize(image, size, op.interpolation);
        }
    }
    const std::size_t pixels = image.size.pixels(), count = image.channels;
    Tensor tensor{image.channels, image.size, std::vector<float>(count * pixels)};
    for (std::size_t c = 0; c < count; ++c) {
        const float m = mean[c], s = std[c];
        const float* in = image.values.data() + c;
        float* out = tensor.values.data() + c * pixels;
        for (std::size_t i = 0; i < pixels; ++i) {
            out[i] = (in[i * count] * scale - m) / s;
        }
    }
    return tensor;
}

int nearest_pixel(int index, int from, int to) {
    return static_cast<int>((2LL * index + 1) * to / (2LL * from));
}

Mask restore(const Mask& mask, const Placement& placement) {
    const auto indices = [&](int Size::*side) {
        std::vector<int> found(placement.image().*side);
        for (int i = 0; i < static_cast<int>(found.size()); ++i) {
            int at = i;
            for (std::size_t op = 0; op < placement.padded.size(); ++op) {
                if (!placement.padded[op]) {
                    at = nearest_pixel(at, placement.sizes[op].*side, placement.sizes[op + 1].*side);
                }
            }
            found[i] = nearest_pixel(at, placement.tensor().*side, mask.size.*side);
        }
        return found;
    };
    const std::vector<int> columns = indices(&Size::width), rows = indices(&Size::height);
    Mask restored{placement.image(), std::vector<std::uint16_t>(placement.image().pixels())};
    auto out = restored.ids.begin();
    for (std::size_t y = 0; y < rows.size(); ++y, out += columns.size()) {
        if (y > 0 && rows[y] == rows[y - 1]) {
            std::copy(out - columns.size(), out, out);
            continue;
        }
        const std::uint16_t* line = mask.ids.data() + static_cast<std::size_t>(rows[y]) * mask.size.width;
        std::transform(columns.begin(), columns.end(), out, [=](int column) { return line[column]; });
    }
    return restored;
}

}  // namespace segexport
