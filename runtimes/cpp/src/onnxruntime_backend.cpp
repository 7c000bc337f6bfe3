// The API is chosen at run time: headers and library need not be of one version.
#define ORT_API_MANUAL_INIT
#include <onnxruntime_cxx_api.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "segexport/backend.h"
#include "segexport/error.h"

namespace segexport {
namespace {

/// The newest API that both the headers and the library have. Version 1.x.y of the library has the APIs 1 to x.
void choose_api() {
    const OrtApiBase* base = OrtGetApiBase();
    const char* version = base->GetVersionString();
    const char* dot = std::strchr(version, '.');
    const auto newest = static_cast<std::uint32_t>(dot == nullptr ? 0 : std::atoi(dot + 1));
    const OrtApi* api = base->GetApi(std::min<std::uint32_t>(ORT_API_VERSION, newest));
    if (api == nullptr) {
        throw Error(std::string("ONNX Runtime ") + version + " does not have the API of its headers");
    }
    Ort::InitApi(api);
}

Ort::Env& environment() {
    static Ort::Env env = [] {
        choose_api();
        return Ort::Env(ORT_LOGGING_LEVEL_ERROR, "segexport");
    }();
    return env;
}

template <typename Value>
std::vector<Value> copied(const Ort::Value& tensor, std::size_t count) {
    const Value* data = tensor.GetTensorData<Value>();
    return std::vector<Value>(data, data + count);
}

class OnnxRuntime final : public Backend {
public:
    OnnxRuntime(const Manifest& manifest, const std::filesystem::path& folder, int threads)
        : input_(manifest.input.name), output_(manifest.outputs[manifest.mask_output].name) {
        const std::filesystem::path file = folder / manifest.model_file().path;
        try {
            Ort::Env& env = environment();
            Ort::SessionOptions options;
            options.SetIntraOpNumThreads(threads);
            options.SetInterOpNumThreads(1);
            options.AddConfigEntry("session.qdqisint8allowed", "1");  // int8 rounds on x86 as it does on ARM
            session_ = Ort::Session(env, file.c_str(), options);
        } catch (const Ort::Exception& error) {
            throw Error("ONNX Runtime cannot load " + file.string(), error.what());
        }
    }

    std::string name() const override { return std::string("ONNX Runtime ") + OrtGetApiBase()->GetVersionString(); }

    Output run(const Tensor& tensor) override {
        try {
            const std::int64_t shape[] = {1, tensor.channels, tensor.size.height, tensor.size.width};
            Ort::Value fed = Ort::Value::CreateTensor<float>(memory_, const_cast<float*>(tensor.values.data()),
                                                             tensor.values.size(), shape, 4);
            const char *in = input_.c_str(), *out = output_.c_str();
            const auto answers = session_.Run(Ort::RunOptions{nullptr}, &in, &fed, 1, &out, 1);
            return output_of(answers.at(0));
        } catch (const Ort::Exception& error) {
            throw Error("ONNX Runtime failed", error.what());
        }
    }

private:
    static Output output_of(const Ort::Value& answer) {
        const auto info = answer.GetTensorTypeAndShapeInfo();
        const std::size_t count = info.GetElementCount();
        Output output{info.GetShape(), {}};
        switch (info.GetElementType()) {
            case ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT: output.values = copied<float>(answer, count); break;
            case ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64: output.values = copied<std::int64_t>(answer, count); break;
            case ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32: output.values = copied<std::int32_t>(answer, count); break;
            case ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8: output.values = copied<std::uint8_t>(answer, count); break;
            case ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16: {
                std::vector<float> floats;
                for (const Ort::Float16_t half : copied<Ort::Float16_t>(answer, count)) {
                    floats.push_back(half.ToFloat());
                }
                output.values = std::move(floats);
                break;
            }
            default:
                throw Error("the model answers with the ONNX element type " + std::to_string(info.GetElementType()),
                            "float32, float16, int64, int32 and uint8 are read");
        }
        return output;
    }

    std::string input_, output_;
    Ort::Session session_{nullptr};
    Ort::MemoryInfo memory_ = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
};

}  // namespace

std::unique_ptr<Backend> open_backend(const Manifest& manifest, const std::filesystem::path& folder, int threads) {
    if (manifest.format != "onnx") {
        throw Error(folder.string() + ": a model of the format " + manifest.format,
                    "this program has ONNX Runtime, which runs onnx", "segexport export MODEL --to onnx -o EXPORT");
    }
    environment();
    return std::make_unique<OnnxRuntime>(manifest, folder, threads);
}

}  // namespace segexport
