#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "segexport/manifest.h"

namespace segexport {

/// The model's answer, in C order.
struct Output {
    std::vector<std::int64_t> shape;
    std::variant<std::vector<float>, std::vector<std::int64_t>, std::vector<std::int32_t>, std::vector<std::uint8_t>>
        values;
};

/// A loaded model in a runtime. One thread at a time may run it.
class Backend {
public:
    virtual ~Backend() = default;

    /// Name and version of the runtime.
    virtual std::string name() const = 0;

    /// The manifest's mask output for one image.
    ///
    /// @throws Error  The runtime failed.
    virtual Output run(const Tensor& tensor) = 0;
};

/// Loads the model with the runtime of its format.
///
/// @param threads  Threads of one inference.
/// @throws Error  No runtime for this format was built in, or it refuses the model.
std::unique_ptr<Backend> open_backend(const Manifest& manifest, const std::filesystem::path& folder, int threads);

}  // namespace segexport
