#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "segexport/image.h"

namespace segexport {

using Bytes = std::vector<std::uint8_t>;

/// A decoded file and the EXIF orientation (1 to 8) that it is stored in.
struct Decoded {
    Picture picture;
    int orientation = 1;
};

/// @throws Error  The size is beyond the limits of image.h.
void require_fair_size(std::uint64_t width, std::uint64_t height);

bool is_png(const Bytes& bytes);
bool is_jpeg(const Bytes& bytes);
Decoded decode_png(const Bytes& bytes);
Mask decode_png_mask(const Bytes& bytes);
Decoded decode_jpeg(const Bytes& bytes);

/// The orientation in an EXIF block (a TIFF header and its first directory); 1 where it has none or is broken.
int exif_orientation(const std::uint8_t* data, std::size_t size);

/// @param bits      8 or 16.
/// @param samples   Of 16 bits, the high byte first.
Bytes encode_png(Size size, int channels, int bits, const std::uint8_t* samples);

}  // namespace segexport
