// Compares the preprocessing and the way back for masks with the vectors that segexport's Python wrote.
//   golden FOLDER      FOLDER: cases.json and vectors.bin, as tests/golden/preprocess of segexport's repository
#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <iostream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "segexport/manifest.h"
#include "segexport/preprocess.h"

using Json = nlohmann::json;

namespace {

std::string vectors;

template <typename Value>
std::vector<Value> array(const Json& entry) {
    std::size_t count = 1;
    for (const Json& size : entry.at("shape")) {
        count *= size.get<std::size_t>();
    }
    std::vector<Value> values(count);
    const std::size_t offset = entry.at("offset");
    if (offset + count * sizeof(Value) > vectors.size()) {
        throw std::runtime_error("an array lies beyond the end of vectors.bin");
    }
    std::memcpy(values.data(), vectors.data() + offset, count * sizeof(Value));
    return values;
}

segexport::Size size_of(const Json& entry, int first) {
    return {entry.at("shape").at(first + 1).get<int>(), entry.at("shape").at(first).get<int>()};
}

segexport::FloatImage image_of(const Json& entry) {
    segexport::FloatImage image{size_of(entry, 0), entry.at("shape").at(2).get<int>(), {}};
    const auto fill = [&](const auto& values) { image.values.assign(values.begin(), values.end()); };
    if (entry.at("dtype") == "uint16") {
        fill(array<std::uint16_t>(entry));
    } else if (entry.at("dtype") == "uint8") {
        fill(array<std::uint8_t>(entry));
    } else {
        fill(array<float>(entry));
    }
    return image;
}

double difference(const segexport::Tensor& tensor, const Json& entry) {
    const auto expected = array<float>(entry);
    if (tensor.size != size_of(entry, 2) || tensor.values.size() != expected.size()) {
        throw std::runtime_error("the tensor has another size");
    }
    double worst = 0;
    for (std::size_t i = 0; i < expected.size(); ++i) {
        worst = std::max(worst, std::abs(static_cast<double>(tensor.values[i]) - expected[i]));
    }
    return worst;
}

double check(const Json& one) {
    const segexport::Preprocess contract = segexport::parse_preprocess(one.at("preprocess").dump());
    const segexport::FloatImage image = image_of(one.at("decoded"));
    const segexport::Placement placement = contract.place(image.size);
    double worst = difference(contract.apply(image, placement), one.at("tensor"));
    if (!one.at("picture").is_null()) {
        const segexport::Picture picture{size_of(one["picture"], 0), array<std::uint8_t>(one["picture"])};
        worst = std::max(worst, difference(contract.apply(picture, placement), one.at("tensor")));
    }
    const auto ids = array<std::uint8_t>(one.at("mask")), restored = array<std::uint8_t>(one.at("restored"));
    const segexport::Mask mask{size_of(one["mask"], 0), {ids.begin(), ids.end()}};
    if (segexport::restore(mask, placement).ids != std::vector<std::uint16_t>(restored.begin(), restored.end())) {
        throw std::runtime_error("the restored mask differs");
    }
    return worst;
}

}  // namespace

int main(int, char** values) {
    const std::string folder = values[1];
    std::ifstream json(folder + "/cases.json"), bytes(folder + "/vectors.bin", std::ios::binary);
    vectors.assign(std::istreambuf_iterator<char>(bytes), {});
    const Json cases = Json::parse(json).at("cases");
    for (const Json& one : cases) {
        try {
            std::cout << check(one) << " " << one.at("name").get<std::string>() << "\n";
        } catch (const std::exception& error) {
            std::cerr << one.at("name") << ": " << error.what() << "\n";
            return 1;
        }
    }
    return cases.empty() ? 1 : 0;
}
