#pragma once

#include "segexport/preprocess.h"

namespace segexport {

/// How the three channels of a picture become those of the network.
enum class PictureOrder { rgb, bgr, gray };

/// Grey of a colour, as OpenCV's COLOR_RGB2GRAY.
inline int gray(int red, int green, int blue) { return (9798 * red + 19235 * green + 3735 * blue + 16384) >> 15; }

/// Separable resize in float32, with half-pixel centres and no rounding.
FloatImage resize(const FloatImage& source, Size target, Interpolation interpolation);

/// The same straight from a picture, which is read row by row and never copied as floats.
FloatImage resize(const Picture& source, PictureOrder order, Size target, Interpolation interpolation);

}  // namespace segexport
