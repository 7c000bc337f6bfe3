#pragma once

#include "segexport/backend.h"
#include "segexport/image.h"
#include "segexport/manifest.h"

namespace segexport {

/// The class of each pixel, at the size of the model's answer. Of equal scores the first class wins.
///
/// @throws Error  NaN or infinity, class ids out of range, or not the shape of one mask.
Mask mask_of(const Output& output, const TensorSpec& spec);

/// The picture with each pixel's class colour over it.
///
/// @param mask     Of the picture's size.
/// @param opacity  0 shows the picture alone, 1 the mask alone.
Picture overlay(const Picture& picture, const Mask& mask, const std::vector<Label>& labels, double opacity = 0.6);

}  // namespace segexport
