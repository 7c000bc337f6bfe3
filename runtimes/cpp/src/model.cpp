#include "segexport/model.h"

#include <chrono>
#include <cstring>
#include <fstream>

#include "segexport/error.h"
#include "segexport/postprocess.h"

namespace segexport {
namespace {

using Clock = std::chrono::steady_clock;

double ms_between(Clock::time_point start, Clock::time_point end) {
    return std::chrono::duration<double, std::milli>(end - start).count();
}

/// Refuses a tensor that a model of fixed input size cannot take.
void require_fit(const Placement& placement, const TensorSpec& input) {
    const Size tensor = placement.tensor();
    if (input.shape.size() != 4) {
        return;
    }
    const auto fits = [](std::int64_t wanted, int side) { return wanted <= 0 || wanted == side; };
    if (!fits(input.shape[2], tensor.height) || !fits(input.shape[3], tensor.width)) {
        const auto side = [](std::int64_t size) { return size > 0 ? std::to_string(size) : "any"; };
        throw Error("an image of " + std::to_string(placement.image().width) + "x" +
                        std::to_string(placement.image().height) + " becomes a tensor of " +
                        std::to_string(tensor.width) + "x" + std::to_string(tensor.height) + ", but the model takes " +
                        side(input.shape[3]) + "x" + side(input.shape[2]) + " (width x height)",
                    "the model was exported with a fixed input size, and its preprocessing does not lead there");
    }
}

Placement placed(const Manifest& manifest, Size image) {
    Placement placement = manifest.preprocess.place(image);
    require_fit(placement, manifest.input);
    return placement;
}

/// The sample of a model that takes more than pictures: little-endian float32, of the shape of the model's input.
Tensor read_tensor(const std::filesystem::path& file, const Manifest& manifest) {
    const auto& shape = manifest.input.shape;
    std::int64_t count = shape.size() == 4 ? 1 : 0;
    for (const std::int64_t size : shape) {
        count = size > 0 && size <= kMaxPixels && count <= kMaxPixels ? count * size : 0;
    }
    std::ifstream stream(file, std::ios::binary);
    if (count == 0 || !stream || std::filesystem::file_size(file) != 4 * static_cast<std::uint64_t>(count)) {
        throw Error(file.string() + ": not a tensor of the model's input");
    }
    std::vector<std::uint8_t> bytes(4 * static_cast<std::size_t>(count));
    stream.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    Tensor tensor{static_cast<int>(shape[1]), {static_cast<int>(shape[3]), static_cast<int>(shape[2])}, {}};
    tensor.values.resize(static_cast<std::size_t>(count));
    for (std::size_t i = 0; i < tensor.values.size(); ++i) {
        const std::uint32_t bits = bytes[4 * i] | bytes[4 * i + 1] << 8 | bytes[4 * i + 2] << 16 |
                                   static_cast<std::uint32_t>(bytes[4 * i + 3]) << 24;
        std::memcpy(&tensor.values[i], &bits, 4);
    }
    return tensor;
}

}  // namespace

Model Model::open(const std::filesystem::path& folder, int threads) {
    Model model;
    model.folder_ = folder;
    model.manifest_ = Manifest::read(folder);
    model.manifest_.verify(folder);
    model.backend_ = open_backend(model.manifest_, folder, threads);
    return model;
}

template <typename Image>
Segmentation Model::run(const Image& image) {
    const auto started = Clock::now();
    const Placement placement = placed(manifest_, image.size);
    const Tensor tensor = manifest_.preprocess.apply(image, placement);
    const auto fed = Clock::now();
    const Output output = backend_->run(tensor);
    const auto answered = Clock::now();
    Mask mask = restore(mask_of(output, manifest_.outputs[manifest_.mask_output]), placement);
    const auto ended = Clock::now();
    return {std::move(mask), ms_between(started, fed), ms_between(fed, answered), ms_between(answered, ended)};
}

Segmentation Model::segment(const Picture& picture) { return run(picture); }

Segmentation Model::segment(const FloatImage& image) { return run(image); }

SelfTest Model::self_test() {
    if (!manifest_.sample) {
        throw Error(folder_.string() + ": the export has no sample", "",
                    "segexport android assets EXPORT -o PACKS --sample photo.jpg writes a folder with one");
    }
    const std::filesystem::path input = folder_ / manifest_.sample->input;
    const Mask expected = read_mask(folder_ / manifest_.sample->expected_mask);
    Mask mask;
    if (manifest_.preprocess.takes_pictures()) {
        mask = segment(read_picture(input)).mask;
    } else {
        mask = mask_of(backend_->run(read_tensor(input, manifest_)), manifest_.outputs[manifest_.mask_output]);
    }
    if (mask.size != expected.size) {
        throw Error("the expected mask is " + std::to_string(expected.size.width) + "x" +
                    std::to_string(expected.size.height) + ", the model's is " + std::to_string(mask.size.width) + "x" +
                    std::to_string(mask.size.height));
    }
    return {mask.agreement(expected)};
}

}  // namespace segexport
