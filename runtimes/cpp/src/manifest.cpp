#include "segexport/manifest.h"

#include <cmath>
#include <fstream>
#include <initializer_list>
#include <nlohmann/json.hpp>

#include "segexport/error.h"
#include "sha256.h"

namespace segexport {
namespace {

using Json = nlohmann::json;
constexpr int kSchemaVersion = 1;
constexpr std::size_t kMaxManifestBytes = 16 << 20;

/// An unknown field could change the result, so it is an error.
void allow(const Json& json, std::initializer_list<const char*> names) {
    for (const auto& [name, value] : json.items()) {
        bool known = false;
        for (const char* allowed : names) {
            known = known || name == allowed;
        }
        if (!known) {
            throw Error("the manifest has a field that this program does not know: " + name, "",
                        "use the C++ sources of the segexport that made the export");
        }
    }
}

template <typename Value>
Value one_of(const Json& json, std::initializer_list<std::pair<const char*, Value>> choices, const char* what) {
    const std::string name = json.get<std::string>();
    for (const auto& [known, value] : choices) {
        if (name == known) {
            return value;
        }
    }
    throw Error(std::string(what) + " \"" + name + "\" is not known");
}

std::vector<float> floats(const Json& json) {
    std::vector<float> values;
    for (const Json& one : json) {
        values.push_back(one.get<float>());
        if (!std::isfinite(values.back())) {
            throw Error("the preprocessing has a number that is not finite");
        }
    }
    return values;
}

/// A size in pixels; 0 where the manifest has none.
int size_of(const Json& json, const char* name) {
    if (!json.contains(name) || json[name].is_null()) {
        return 0;
    }
    const auto value = json[name].get<std::int64_t>();
    if (!json[name].is_number_integer() || value < 1 || value > kMaxPixels) {
        throw Error(std::string(name) + " is " + json[name].dump() + ", a size in pixels is expected");
    }
    return static_cast<int>(value);
}

Geometry geometry_of(const Json& json) {
    using Kind = Geometry::Kind;
    Geometry op;
    op.name = json.at("op").get<std::string>();
    op.kind = one_of<Kind>(json.at("op"),
                           {{"resize", Kind::resize},
                            {"resize_short", Kind::resize_short},
                            {"resize_long", Kind::resize_long},
                            {"limit_long", Kind::limit_long},
                            {"limit_short", Kind::limit_short},
                            {"resize_to_multiple", Kind::resize_to_multiple},
                            {"pad", Kind::pad},
                            {"pad_to_ratio", Kind::pad_to_ratio},
                            {"pad_to_multiple", Kind::pad_to_multiple},
                            {"clip", Kind::clip}},
                           "geometry operation");
    switch (op.kind) {
        case Kind::resize: allow(json, {"op", "interpolation", "width", "height", "keep_ratio", "size_divisor"}); break;
        case Kind::resize_short: allow(json, {"op", "interpolation", "size", "max_size"}); break;
        case Kind::resize_long: allow(json, {"op", "interpolation", "size"}); break;
        case Kind::limit_long:
        case Kind::limit_short: allow(json, {"op", "interpolation", "min_size", "max_size"}); break;
        case Kind::resize_to_multiple: allow(json, {"op", "interpolation", "multiple"}); break;
        case Kind::pad: allow(json, {"op", "width", "height", "value"}); break;
        case Kind::pad_to_ratio: allow(json, {"op", "ratio", "value"}); break;
        case Kind::pad_to_multiple: allow(json, {"op", "multiple", "value"}); break;
        case Kind::clip: allow(json, {"op", "low", "high"}); break;
    }
    op.width = size_of(json, "width");
    op.height = size_of(json, "height");
    op.size = size_of(json, "size");
    op.multiple = size_of(json, "multiple");
    op.min_size = size_of(json, "min_size");
    op.max_size = size_of(json, "max_size");
    op.size_divisor = std::max(1, size_of(json, "size_divisor"));
    op.keep_ratio = json.value("keep_ratio", false);
    op.ratio = json.value("ratio", 0.0);
    if (json.contains("interpolation")) {
        op.interpolation = one_of<Interpolation>(json["interpolation"],
                                                 {{"nearest", Interpolation::nearest},
                                                  {"linear", Interpolation::linear},
                                                  {"cubic", Interpolation::cubic},
                                                  {"area", Interpolation::area},
                                                  {"lanczos4", Interpolation::lanczos4}},
                                                 "interpolation");
    }
    if (op.pads()) {
        op.value = floats(json.at("value"));
    }
    if (op.clips()) {
        op.low = floats(json.at("low"));
        op.high = floats(json.at("high"));
    }
    const bool limits = op.kind == Kind::limit_long || op.kind == Kind::limit_short;
    const bool complete = op.clips() || limits || op.size > 0 || op.multiple > 0 || (op.width > 0 && op.height > 0) ||
                          (op.kind == Kind::pad_to_ratio && op.ratio > 0 && op.ratio < kMaxPixels);
    if (!complete) {
        throw Error("a geometry operation without its sizes: " + json.dump());
    }
    return op;
}

Preprocess preprocess_of(const Json& json) {
    if (json.contains("tiles")) {
        throw Error("the model is to be run in tiles", "this program runs whole images",
                    "export it without --tile-size");
    }
    allow(json, {"color", "depth", "geometry", "scale", "mean", "std"});
    Preprocess contract;
    contract.color = one_of<Color>(json.at("color"),
                                   {{"rgb", Color::rgb},
                                    {"bgr", Color::bgr},
                                    {"gray", Color::gray},
                                    {"bgra", Color::bgra},
                                    {"channels", Color::channels}},
                                   "color");
    contract.stored =
        json.contains("depth") && one_of<bool>(json["depth"], {{"uint8", false}, {"stored", true}}, "depth");
    contract.scale = json.at("scale").get<float>();
    contract.mean = floats(json.at("mean"));
    contract.std = floats(json.at("std"));
    for (const Json& op : json.at("geometry")) {
        contract.geometry.push_back(geometry_of(op));
    }
    const std::size_t channels = contract.mean.size();
    const auto require = [&](std::size_t found, const char* what) {
        if (found != channels || channels == 0) {
            throw Error(std::string(what) + " has " + std::to_string(found) + " channels, there are " +
                        std::to_string(channels) + " means");
        }
    };
    require(contract.std.size(), "std");
    const std::size_t of_color = contract.color == Color::gray       ? 1
                                 : contract.color == Color::bgra     ? 4
                                 : contract.color == Color::channels ? channels
                                                                     : 3;
    require(of_color, "the color");
    for (const float value : contract.std) {
        if (value == 0) {
            throw Error("std has a 0");
        }
    }
    for (const Geometry& op : contract.geometry) {
        if (op.pads()) {
            require(op.value.size(), "a padding");
        }
        if (op.clips()) {
            require(op.low.size(), "a clip");
            require(op.high.size(), "a clip");
        }
    }
    return contract;
}

TensorSpec tensor_of(const Json& json) {
    return {json.at("name"), json.at("dtype"), json.value("layout", ""), json.value("semantics", "other"),
            json.at("shape")};
}

std::string inside(const std::string& path) {
    if (path.empty() || path[0] == '/' || path.find('\\') != std::string::npos ||
        ("/" + path + "/").find("/../") != std::string::npos) {
        throw Error("a file of the export lies outside of its folder: " + path);
    }
    return path;
}

std::vector<Label> labels_of(const Json& json) {
    std::vector<Label> labels;
    for (const Json& one : json) {
        Label label{one.at("id"), one.at("name"), {}};
        if (label.id < 0 || label.id > 65535) {
            throw Error("a label has the id " + std::to_string(label.id));
        }
        for (int channel = 0; channel < 3; ++channel) {
            const int value = one.at("rgb").at(channel).get<int>();
            label.rgb[channel] = static_cast<std::uint8_t>(std::min(255, std::max(0, value)));
        }
        labels.push_back(label);
    }
    return labels;
}

Manifest manifest_of(const Json& json) {
    if (json.at("schema_version") != kSchemaVersion) {
        throw Error("schema_version is " + json.at("schema_version").dump() + ", this program reads " +
                        std::to_string(kSchemaVersion),
                    "", "make the export again with this version of segexport");
    }
    Manifest manifest;
    manifest.name = json.at("name");
    manifest.format = json.at("format");
    manifest.precision = json.at("target").at("precision");
    if (json.at("inputs").size() != 1 || json["inputs"][0].at("dtype") != "float32") {
        throw Error("the model takes " + std::to_string(json["inputs"].size()) + " inputs",
                    "this program feeds one float32 image", "use segexport's Python for such a model");
    }
    manifest.input = tensor_of(json["inputs"][0]);
    bool found = false;
    for (const Json& one : json.at("outputs")) {
        manifest.outputs.push_back(tensor_of(one));
        const std::string& semantics = manifest.outputs.back().semantics;
        if (!found && (semantics == "logits" || semantics == "probability" || semantics == "class_index")) {
            manifest.mask_output = manifest.outputs.size() - 1;
            found = true;
        }
    }
    if (!found) {
        throw Error("none of the model's outputs is a segmentation",
                    "logits, probability or class_index is expected; objects are not read here");
    }
    manifest.preprocess = preprocess_of(json.at("preprocess"));
    manifest.labels = labels_of(json.at("labels"));
    for (const Json& one : json.at("files")) {
        manifest.files.push_back({inside(one.at("path")), one.at("sha256"), one.value("role", "model"),
                                  one.at("size_bytes").get<std::uint64_t>()});
    }
    if (json.contains("sample") && !json["sample"].is_null()) {
        manifest.sample = Sample{inside(json["sample"].at("input")), inside(json["sample"].at("expected_mask"))};
    }
    manifest.model_file();
    return manifest;
}

}  // namespace

const ModelFile& Manifest::model_file() const {
    for (const ModelFile& file : files) {
        if (file.role == "model") {
            return file;
        }
    }
    throw Error("the manifest names no file with the role \"model\"");
}

Manifest Manifest::read(const std::filesystem::path& folder) {
    const std::filesystem::path file = folder / "manifest.json";
    std::ifstream stream(file, std::ios::binary);
    if (!std::filesystem::is_regular_file(file) || !stream) {
        throw Error(folder.string() + ": not an export of segexport", "there is no manifest.json in it",
                    "segexport export MODEL --to onnx -o EXPORT");
    }
    std::string text(kMaxManifestBytes + 1, '\0');
    stream.read(text.data(), static_cast<std::streamsize>(text.size()));
    text.resize(static_cast<std::size_t>(stream.gcount()));
    if (text.size() > kMaxManifestBytes) {
        throw Error(file.string() + ": over 16 MiB", "this is not a manifest");
    }
    try {
        return manifest_of(Json::parse(text));
    } catch (const Json::parse_error& error) {
        throw Error(file.string() + ": not JSON", error.what(), "make the export again; it was edited or damaged");
    } catch (const Json::exception& error) {
        throw Error(file.string() + ": not a valid manifest", error.what(),
                    "make the export again; it was edited or damaged");
    } catch (const Error& error) {
        throw Error(file.string() + ": " + error.what(), error.cause, error.hint);
    }
}

void Manifest::verify(const std::filesystem::path& folder) const {
    for (const ModelFile& file : files) {
        const std::filesystem::path path = folder / file.path;
        if (!std::filesystem::is_regular_file(path)) {
            throw Error(path.string() + ": missing", "manifest.json lists it");
        }
        if (std::filesystem::file_size(path) != file.size_bytes || sha256_of(path) != file.sha256) {
            throw Error(path.string() + ": not the file that manifest.json describes",
                        std::to_string(std::filesystem::file_size(path)) + " bytes here, " +
                            std::to_string(file.size_bytes) + " recorded, or another sha256",
                        "make the export again; it was edited or damaged after it was written");
        }
    }
}

Preprocess parse_preprocess(std::string_view json) {
    try {
        return preprocess_of(Json::parse(json));
    } catch (const Json::exception& error) {
        throw Error("preprocess: not valid", error.what());
    }
}

}  // namespace segexport
