#include "resize.h"

#include <algorithm>
#include <cfloat>
#include <cmath>

namespace segexport {
namespace {

/// One axis of the resize: target pixel i is made of the source pixels index[k] by weight[k], start[i] <= k < start[i+1].
struct Taps {
    std::vector<int> start{0}, index;
    std::vector<float> weight;
    int widest = 0;

    void add(int at, float value) {
        index.push_back(at);
        weight.push_back(value);
    }
    void next() {
        widest = std::max(widest, static_cast<int>(index.size()) - start.back());
        start.push_back(static_cast<int>(index.size()));
    }
};

double scale_of(int source, int target) { return 1.0 / (static_cast<double>(target) / source); }  // OpenCV divides twice

Taps nearest_taps(int source, int target) {
    Taps taps;
    for (int i = 0; i < target; ++i) {
        taps.add(nearest_pixel(i, target, source), 1.0f);
        taps.next();
    }
    return taps;
}

Taps linear_taps(int source, int target, bool area_centres) {
    const double scale = scale_of(source, target), inverse = static_cast<double>(target) / source;
    Taps taps;
    for (int i = 0; i < target; ++i) {
        int first;
        float fraction;
        if (area_centres) {
            first = static_cast<int>(std::floor(i * scale));
            fraction = static_cast<float>((i + 1) - (first + 1) * inverse);
            fraction = fraction <= 0 ? 0.0f : fraction - std::floor(fraction);
        } else {
            const double position = (i + 0.5) * scale - 0.5;  // in float it would be off by 1e-4 at a few hundred
            first = static_cast<int>(std::floor(position));
            fraction = static_cast<float>(position - first);
        }
        if (first < 0) {
            first = 0;
            fraction = 0;
        }
        if (first >= source - 1) {
            taps.add(source - 1, 1.0f);
        } else {
            taps.add(first, 1.0f - fraction);
            taps.add(first + 1, fraction);
        }
        taps.next();
    }
    return taps;
}

void cubic_weights(float x, float* weights) {
    const float a = -0.75f;
    weights[0] = ((a * (x + 1) - 5 * a) * (x + 1) + 8 * a) * (x + 1) - 4 * a;
    weights[1] = ((a + 2) * x - (a + 3)) * x * x + 1;
    weights[2] = ((a + 2) * (1 - x) - (a + 3)) * (1 - x) * (1 - x) + 1;
    weights[3] = 1.0f - weights[0] - weights[1] - weights[2];
}

/// sinc(t) sinc(t / 4) at the 8 neighbours, brought to a sum of 1.
void lanczos4_weights(float x, float* weights) {
    if (x < FLT_MIN) {
        std::fill(weights, weights + 8, 0.0f);
        weights[3] = 1.0f;
        return;
    }
    double sum = 0, exact[8];
    for (int k = 0; k < 8; ++k) {
        const double t = 3.14159265358979323846 * (x + 3 - k);
        exact[k] = std::abs(t) < 1e-12 ? 1 : std::sin(t) * std::sin(t / 4) / (t * t / 4);
        sum += exact[k];
    }
    for (int k = 0; k < 8; ++k) {
        weights[k] = static_cast<float>(exact[k] / sum);
    }
}

Taps convolution_taps(int source, int target, int count) {
    const double scale = scale_of(source, target);
    Taps taps;
    float weights[8];
    for (int i = 0; i < target; ++i) {
        const double position = (i + 0.5) * scale - 0.5;
        const int centre = static_cast<int>(std::floor(position));
        const float fraction = static_cast<float>(position - centre);
        count == 4 ? cubic_weights(fraction, weights) : lanczos4_weights(fraction, weights);
        for (int k = 0; k < count; ++k) {
            taps.add(std::clamp(centre - count / 2 + 1 + k, 0, source - 1), weights[k]);  // the border is repeated
        }
        taps.next();
    }
    return taps;
}

Taps area_taps(int source, int target) {
    const double scale = scale_of(source, target);
    Taps taps;
    for (int i = 0; i < target; ++i) {
        const double from = i * scale, to = from + scale, cell = std::min(scale, source - from);
        const int last = std::min(static_cast<int>(std::floor(to)), source - 1);
        const int first = std::min(static_cast<int>(std::ceil(from)), last);
        if (first - from > 1e-3) {
            taps.add(first - 1, static_cast<float>((first - from) / cell));
        }
        for (int k = first; k < last; ++k) {
            taps.add(k, static_cast<float>(1.0 / cell));
        }
        if (to - last > 1e-3) {
            taps.add(last, static_cast<float>(std::min(std::min(to - last, 1.0), cell) / cell));
        }
        taps.next();
    }
    return taps;
}

/// `shrinks`: whether neither axis of the image grows; only then `area` averages, else it is a kind of linear.
Taps taps_of(Interpolation interpolation, int source, int target, bool shrinks) {
    switch (interpolation) {
        case Interpolation::nearest: return nearest_taps(source, target);
        case Interpolation::cubic: return convolution_taps(source, target, 4);
        case Interpolation::lanczos4: return convolution_taps(source, target, 8);
        case Interpolation::area: return shrinks ? area_taps(source, target) : linear_taps(source, target, true);
        case Interpolation::linear: break;
    }
    return linear_taps(source, target, false);
}

/// Brings each needed row to the target's width once (`widen(y, taps, out)`), then blends rows. Only as many rows as
/// the kernel is high are kept.
template <typename Widen>
FloatImage blend(const Widen& widen, Size source, int channels, Size target, Interpolation interpolation) {
    const bool shrinks = target.width <= source.width && target.height <= source.height;
    const Taps across = taps_of(interpolation, source.width, target.width, shrinks);
    const Taps down = taps_of(interpolation, source.height, target.height, shrinks);
    const std::size_t stride = static_cast<std::size_t>(channels) * target.width;
    FloatImage image{target, channels, std::vector<float>(stride * target.height)};
    std::vector<std::vector<float>> kept(down.widest, std::vector<float>(stride));
    std::vector<int> keeps(down.widest, -1);
    for (int y = 0; y < target.height; ++y) {
        float* out = image.values.data() + y * stride;
        for (int k = down.start[y]; k < down.start[y + 1]; ++k) {
            const int slot = down.index[k] % down.widest;
            if (keeps[slot] != down.index[k]) {
                widen(down.index[k], across, kept[slot].data());
                keeps[slot] = down.index[k];
            }
            const float* row = kept[slot].data();
            const float weight = down.weight[k];
            for (std::size_t i = 0; i < stride; ++i) {
                out[i] += row[i] * weight;
            }
        }
    }
    return image;
}

template <int kRed>
void widen_colors(const std::uint8_t* line, const Taps& taps, float* out) {
    const int width = static_cast<int>(taps.start.size()) - 1;
    for (int x = 0; x < width; ++x, out += 3) {
        float red = 0, green = 0, blue = 0;
        for (int k = taps.start[x]; k < taps.start[x + 1]; ++k) {
            const std::uint8_t* pixel = line + 3 * static_cast<std::size_t>(taps.index[k]);
            const float weight = taps.weight[k];
            red += pixel[0] * weight;
            green += pixel[1] * weight;
            blue += pixel[2] * weight;
        }
        out[kRed] = red;
        out[1] = green;
        out[2 - kRed] = blue;
    }
}

}  // namespace

FloatImage resize(const FloatImage& source, Size target, Interpolation interpolation) {
    const int channels = source.channels;
    const auto widen = [&](int y, const Taps& taps, float* out) {
        const float* line = source.values.data() + static_cast<std::size_t>(y) * source.size.width * channels;
        for (int x = 0; x < target.width; ++x, out += channels) {
            std::fill(out, out + channels, 0.0f);
            for (int k = taps.start[x]; k < taps.start[x + 1]; ++k) {
                const float* pixel = line + static_cast<std::size_t>(taps.index[k]) * channels;
                for (int c = 0; c < channels; ++c) {
                    out[c] += pixel[c] * taps.weight[k];
                }
            }
        }
    };
    return blend(widen, source.size, channels, target, interpolation);
}

FloatImage resize(const Picture& source, PictureOrder order, Size target, Interpolation interpolation) {
    const std::size_t stride = 3 * static_cast<std::size_t>(source.size.width);
    if (order != PictureOrder::gray) {
        const auto widen = order == PictureOrder::rgb ? widen_colors<0> : widen_colors<2>;
        const auto row = [&](int y, const Taps& taps, float* out) { widen(source.rgb.data() + y * stride, taps, out); };
        return blend(row, source.size, 3, target, interpolation);
    }
    const auto row = [&](int y, const Taps& taps, float* out) {
        const std::uint8_t* line = source.rgb.data() + y * stride;
        for (int x = 0; x < target.width; ++x) {
            float sum = 0;
            for (int k = taps.start[x]; k < taps.start[x + 1]; ++k) {
                const std::uint8_t* pixel = line + 3 * static_cast<std::size_t>(taps.index[k]);
                sum += gray(pixel[0], pixel[1], pixel[2]) * taps.weight[k];
            }
            out[x] = sum;
        }
    };
    return blend(row, source.size, 1, target, interpolation);
}

}  // namespace segexport
