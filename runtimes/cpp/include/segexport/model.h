#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "segexport/backend.h"
#include "segexport/image.h"
#include "segexport/manifest.h"

namespace segexport {

struct Segmentation {
    Mask mask;  ///< Of the image's size.
    double preprocess_ms = 0, inference_ms = 0, postprocess_ms = 0;
};

/// What the self-test found.
struct SelfTest {
    static constexpr double kRequired = 0.999;

    double agreement = 0;  ///< The fraction of pixels that are as expected.

    bool passed() const { return agreement >= kRequired; }
};

/// An export of segexport, ready to run. One thread at a time may use it.
class Model {
public:
    /// Reads the folder of an export, compares its files with their digests, and loads the model.
    ///
    /// @throws Error  The folder is none of an export, was changed, or its model cannot be run.
    static Model open(const std::filesystem::path& folder, int threads = 1);

    const Manifest& manifest() const { return manifest_; }
    std::string runtime() const { return backend_->name(); }

    Segmentation segment(const Picture& picture);

    /// For models that take other channels than 8-bit colours.
    Segmentation segment(const FloatImage& image);

    /// Runs the sample of the export and compares the mask with the expected one.
    ///
    /// @throws Error  The export has no sample.
    SelfTest self_test();

private:
    template <typename Image>
    Segmentation run(const Image& image);

    Manifest manifest_;
    std::filesystem::path folder_;
    std::unique_ptr<Backend> backend_;
};

}  // namespace segexport
