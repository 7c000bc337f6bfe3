#include "segexport/postprocess.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "segexport/error.h"

namespace segexport {
namespace {

[[noreturn]] void refuse_shape(const Output& output) {
    std::string shape;
    for (const std::int64_t size : output.shape) {
        shape += (shape.empty() ? "" : "x") + std::to_string(size);
    }
    throw Error("the model answered with " + shape + " values, which is not the answer for one image");
}

[[noreturn]] void refuse_values() { throw Error("the model answered with NaN or infinity"); }

/// Numbers whose exponent has all bits set are NaN or infinite; as integers they are found many at a time.
void require_finite(const std::vector<float>& scores) {
    constexpr std::uint32_t kExponent = 0x7F800000;
    std::uint32_t found = 0;
    for (const float score : scores) {
        std::uint32_t bits;
        std::memcpy(&bits, &score, sizeof bits);
        found |= (bits & kExponent) == kExponent ? 1u : 0u;
    }
    if (found != 0) {
        refuse_values();
    }
}

std::size_t count_of(const Output& output) {
    return std::visit([](const auto& values) { return values.size(); }, output.values);
}

Mask best_classes(const Output& output, const TensorSpec& spec) {
    const auto& shape = output.shape;
    const std::size_t axes = shape.size();
    const auto* scores = std::get_if<std::vector<float>>(&output.values);
    if (scores == nullptr || axes < 3 || axes > 4 || (axes == 4 && shape[0] != 1) || scores->empty()) {
        refuse_shape(output);
    }
    const bool last = spec.layout.size() >= 3 && spec.layout.compare(spec.layout.size() - 3, 3, "HWC") == 0;
    const std::size_t classes = shape[last ? axes - 1 : axes - 3];
    const Size size{static_cast<int>(shape[last ? axes - 2 : axes - 1]),
                    static_cast<int>(shape[last ? axes - 3 : axes - 2])};
    const std::size_t plane = size.pixels();
    if (classes > 65536 || scores->size() != classes * plane) {
        refuse_shape(output);
    }
    require_finite(*scores);
    Mask mask{size, std::vector<std::uint16_t>(plane)};
    const float* at = scores->data();
    if (classes == 1) {
        const float threshold = spec.semantics == "probability" ? 0.5f : 0.0f;
        std::transform(at, at + plane, mask.ids.begin(), [=](float score) { return score > threshold ? 1 : 0; });
    } else if (last) {
        for (std::size_t i = 0; i < plane; ++i, at += classes) {
            mask.ids[i] = static_cast<std::uint16_t>(std::max_element(at, at + classes) - at);
        }
    } else {
        // Class by class reads memory in its order; a block of pixels stays in the cache with its best scores so far. The
        // classes are floats here, so that the compiler chooses them many at a time, as it does the scores.
        constexpr std::size_t kBlock = 2048;
        float highest[kBlock], winner[kBlock];
        for (std::size_t start = 0; start < plane; start += kBlock) {
            const std::size_t block = std::min(kBlock, plane - start);
            std::copy(at + start, at + start + block, highest);
            std::fill(winner, winner + block, 0.0f);
            for (std::size_t c = 1; c < classes; ++c) {
                const float* of_class = at + c * plane + start;
                const auto id = static_cast<float>(c);
                for (std::size_t i = 0; i < block; ++i) {
                    winner[i] = of_class[i] > highest[i] ? id : winner[i];
                    highest[i] = of_class[i] > highest[i] ? of_class[i] : highest[i];
                }
            }
            std::transform(winner, winner + block, mask.ids.begin() + start,
                           [](float id) { return static_cast<std::uint16_t>(static_cast<std::int32_t>(id)); });
        }
    }
    return mask;
}

/// Axes of size 1 are batch or channel; of what remains, two are wanted. A mask of one row keeps its last two.
Size size_of(const Output& output) {
    std::vector<std::int64_t> real;
    for (const std::int64_t size : output.shape) {
        if (size != 1) {
            real.push_back(size);
        }
    }
    if (real.size() > 2) {
        refuse_shape(output);
    }
    if (real.size() < 2) {
        const std::size_t axes = output.shape.size();
        real = {axes > 1 ? output.shape[axes - 2] : 1, axes > 0 ? output.shape[axes - 1] : 1};
    }
    if (real.empty()) {
        return {1, 1};
    }
    return {static_cast<int>(real[1]), static_cast<int>(real[0])};
}

Mask ready_classes(const Output& output) {
    Mask mask{size_of(output), {}};
    if (mask.size.pixels() == 0 || mask.size.pixels() != count_of(output)) {
        refuse_shape(output);
    }
    mask.ids.reserve(mask.size.pixels());
    std::visit(
        [&](const auto& values) {
            for (const auto value : values) {
                if (static_cast<float>(value) != static_cast<float>(value)) {
                    refuse_values();
                }
                if (value < 0 || value > 65535) {
                    throw Error("the model answered with the class " + std::to_string(value));
                }
                mask.ids.push_back(static_cast<std::uint16_t>(value));
            }
        },
        output.values);
    return mask;
}

}  // namespace

double Mask::agreement(const Mask& other) const {
    if (size != other.size || ids.empty()) {
        return std::numeric_limits<double>::quiet_NaN();
    }
    std::size_t same = 0;
    for (std::size_t i = 0; i < ids.size(); ++i) {
        same += ids[i] == other.ids[i];
    }
    return static_cast<double>(same) / static_cast<double>(ids.size());
}

Mask mask_of(const Output& output, const TensorSpec& spec) {
    return spec.semantics == "class_index" ? ready_classes(output) : best_classes(output, spec);
}

Picture overlay(const Picture& picture, const Mask& mask, const std::vector<Label>& labels, double opacity) {
    if (picture.size != mask.size) {
        throw Error("the picture and the mask are not of one size");
    }
    std::vector<std::array<std::uint8_t, 3>> palette(65536, {255, 255, 255});  // white: a class without a name
    for (const Label& label : labels) {
        palette[label.id] = label.rgb;
    }
    const auto under = static_cast<float>(1.0 - opacity), over = static_cast<float>(opacity);
    Picture result{picture.size, std::vector<std::uint8_t>(picture.rgb.size())};
    for (std::size_t i = 0; i < picture.rgb.size(); ++i) {
        const float value = picture.rgb[i] * under + palette[mask.ids[i / 3]][i % 3] * over;
        result.rgb[i] = static_cast<std::uint8_t>(std::lrint(std::clamp(value, 0.0f, 255.0f)));
    }
    return result;
}

}  // namespace segexport
