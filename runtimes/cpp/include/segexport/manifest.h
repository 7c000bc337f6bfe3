#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "segexport/preprocess.h"

namespace segexport {

struct TensorSpec {
    std::string name, dtype, layout, semantics;
    std::vector<std::int64_t> shape;  ///< -1 where a dimension is free.
};

struct Label {
    int id = 0;
    std::string name;
    std::array<std::uint8_t, 3> rgb{};
};

struct ModelFile {
    std::string path, sha256, role;
    std::uint64_t size_bytes = 0;
};

/// An image and the mask that the model gives for it.
struct Sample {
    std::string input, expected_mask;
};

/// What segexport writes beside a model: how it is fed, how its answer is read, what its classes are.
struct Manifest {
    std::string name, format, precision;
    TensorSpec input;
    std::vector<TensorSpec> outputs;
    std::size_t mask_output = 0;  ///< The output that is the segmentation.
    Preprocess preprocess;
    std::vector<Label> labels;
    std::vector<ModelFile> files;
    std::optional<Sample> sample;

    const ModelFile& model_file() const;

    /// Reads `folder`/manifest.json.
    ///
    /// @throws Error  No manifest, one that is broken or of another schema, or a model that is not one of masks.
    static Manifest read(const std::filesystem::path& folder);

    /// Compares the model's files with their recorded digests.
    ///
    /// @throws Error  A file is missing or was changed.
    void verify(const std::filesystem::path& folder) const;
};

/// The `preprocess` object of a manifest, as JSON.
Preprocess parse_preprocess(std::string_view json);

}  // namespace segexport
