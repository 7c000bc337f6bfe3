#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <vector>

namespace segexport {

constexpr std::int64_t kMaxPixels = 64'000'000;  ///< A larger image is refused before it is decoded.
constexpr int kMaxSidePixels = 20'000;

struct Size {
    int width = 0;
    int height = 0;

    std::size_t pixels() const { return static_cast<std::size_t>(width) * static_cast<std::size_t>(height); }
    bool operator==(const Size& other) const { return width == other.width && height == other.height; }
    bool operator!=(const Size& other) const { return !(*this == other); }
};

/// 8-bit red, green and blue of each pixel, row by row.
struct Picture {
    Size size;
    std::vector<std::uint8_t> rgb;
};

/// float32 of any number of channels, interleaved: the values of the first pixel's channels, then those of the next.
struct FloatImage {
    Size size;
    int channels = 0;
    std::vector<float> values;
};

/// The class of each pixel, row by row.
struct Mask {
    Size size;
    std::vector<std::uint16_t> ids;

    /// The fraction of pixels on which both agree; NaN where the sizes differ.
    double agreement(const Mask& other) const;
};

/// Reads a PNG or a JPEG as Pillow does: the EXIF orientation is applied, alpha is dropped, grey is repeated, a palette
/// becomes its colours, CMYK becomes RGB, of 16 bits the upper 8 stay.
///
/// @throws Error  Missing, truncated, corrupt, too large, or of another format.
Picture read_picture(const std::filesystem::path& file);

/// Writes a PNG; it takes its name only when it is complete.
///
/// @throws Error  The file cannot be written.
void write_png(const std::filesystem::path& file, const Picture& picture);

/// Writes class ids as a grey PNG, of 8 bits or, where an id is above 255, of 16.
void write_png(const std::filesystem::path& file, const Mask& mask);

/// Reads class ids from a grey or a palette PNG of 8 or 16 bits.
Mask read_mask(const std::filesystem::path& file);

}  // namespace segexport
