// Segments one image with an export of segexport, or runs the export's self-test.
#include <algorithm>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <new>
#include <string>
#include <vector>

#include "segexport/error.h"
#include "segexport/model.h"
#include "segexport/postprocess.h"

namespace {

constexpr char kUsage[] =
    "usage: segexport_predict MODEL_FOLDER IMAGE -o OUT [--threads N] [--runs N]\n"
    "       segexport_predict MODEL_FOLDER --self-test [--threads N]\n"
    "\n"
    "MODEL_FOLDER  an ONNX export of segexport, with its manifest.json\n"
    "IMAGE         a PNG or a JPEG\n"
    "-o OUT        folder for NAME-mask.png (class ids) and NAME-overlay.png (classes over the image)\n"
    "--self-test   run the export's sample and compare the mask with the expected one\n"
    "--threads N   threads of one inference; default 1\n"
    "--runs N      run N times and print the median time of each stage\n"
    "\n"
    "exit: 0 done, 1 the self-test failed, 2 an error\n";

struct Arguments {
    std::string model, image, out;
    bool self_test = false, help = false;
    int threads = 1, runs = 1;
};

int number_of(const std::string& option, const std::string& text) {
    char* end = nullptr;
    const long value = std::strtol(text.c_str(), &end, 10);
    if (text.empty() || *end != '\0' || value < 1 || value > 10000) {
        throw segexport::Error(option + " " + text + ": a number from 1 to 10000 is expected");
    }
    return static_cast<int>(value);
}

Arguments parsed(const std::vector<std::string>& given) {
    Arguments arguments;
    std::vector<std::string> places;
    for (std::size_t i = 0; i < given.size(); ++i) {
        const std::string& one = given[i];
        const auto value = [&]() -> const std::string& {
            if (i + 1 == given.size()) {
                throw segexport::Error(one + ": a value is missing", "", "segexport_predict --help");
            }
            return given[++i];
        };
        if (one == "--help" || one == "-h") {
            arguments.help = true;
        } else if (one == "--self-test") {
            arguments.self_test = true;
        } else if (one == "-o") {
            arguments.out = value();
        } else if (one == "--threads") {
            arguments.threads = number_of(one, value());
        } else if (one == "--runs") {
            arguments.runs = number_of(one, value());
        } else if (one.size() > 1 && one[0] == '-') {
            throw segexport::Error(one + ": no such option", "", "segexport_predict --help");
        } else {
            places.push_back(one);
        }
    }
    const std::size_t wanted = arguments.self_test ? 1 : 2;
    if (!arguments.help && (places.size() != wanted || (!arguments.self_test && arguments.out.empty()))) {
        throw segexport::Error(arguments.self_test ? "MODEL_FOLDER is expected" : "MODEL_FOLDER IMAGE -o OUT is expected",
                               "", "segexport_predict --help");
    }
    places.resize(2);
    arguments.model = places[0];
    arguments.image = places[1];
    return arguments;
}

double median(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    const std::size_t half = values.size() / 2;
    return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

void print_shares(const segexport::Mask& mask, const std::vector<segexport::Label>& labels) {
    std::vector<std::size_t> counts(65536);
    for (const std::uint16_t id : mask.ids) {
        ++counts[id];
    }
    std::cout.setf(std::ios::fixed);
    std::cout.precision(1);
    for (const segexport::Label& label : labels) {
        if (counts[label.id] > 0) {
            std::cout << label.name << " " << 100.0 * counts[label.id] / mask.ids.size() << " %\n";
        }
    }
}

void predict(const Arguments& arguments) {
    segexport::Model model = segexport::Model::open(arguments.model, arguments.threads);
    const segexport::Picture picture = segexport::read_picture(arguments.image);
    std::vector<double> before, inside, after;
    segexport::Segmentation answer;
    for (int run = 0; run < arguments.runs; ++run) {
        answer = model.segment(picture);
        before.push_back(answer.preprocess_ms);
        inside.push_back(answer.inference_ms);
        after.push_back(answer.postprocess_ms);
    }
    const std::filesystem::path out = arguments.out;
    std::error_code failed;
    std::filesystem::create_directories(out, failed);
    if (!std::filesystem::is_directory(out)) {
        throw segexport::Error(out.string() + ": not a folder that can be written to", failed.message());
    }
    const std::string stem = std::filesystem::path(arguments.image).stem().string();
    segexport::write_png(out / (stem + "-mask.png"), answer.mask);
    segexport::write_png(out / (stem + "-overlay.png"),
                         segexport::overlay(picture, answer.mask, model.manifest().labels));
    print_shares(answer.mask, model.manifest().labels);
    if (arguments.runs > 1) {
        std::cout.precision(4);
        std::cout << "preprocess_ms " << median(before) << "\ninference_ms " << median(inside) << "\npostprocess_ms "
                  << median(after) << "\n";
    }
}

int self_test(const Arguments& arguments) {
    segexport::Model model = segexport::Model::open(arguments.model, arguments.threads);
    const segexport::SelfTest found = model.self_test();
    std::cout.setf(std::ios::fixed);
    std::cout.precision(3);
    std::cout << (found.passed() ? "PASS" : "FAIL") << ": " << 100 * found.agreement << " % of the pixels are as expected, "
              << 100 * segexport::SelfTest::kRequired << " % are required, " << model.runtime() << "\n";
    return found.passed() ? 0 : 1;
}

int complain(const std::string& what, const std::string& cause = "", const std::string& hint = "") {
    std::cerr << "error: " << what << "\n";
    if (!cause.empty()) {
        std::cerr << "  cause: " << cause << "\n";
    }
    if (!hint.empty()) {
        std::cerr << "  hint: " << hint << "\n";
    }
    return 2;
}

}  // namespace

int main(int count, char** values) {
    try {
        const Arguments arguments = parsed(std::vector<std::string>(values + 1, values + count));
        if (arguments.help) {
            std::cout << kUsage;
            return 0;
        }
        if (arguments.self_test) {
            return self_test(arguments);
        }
        predict(arguments);
        return 0;
    } catch (const segexport::Error& error) {
        return complain(error.what(), error.cause, error.hint);
    } catch (const std::bad_alloc&) {
        return complain("not enough memory for this model and image");
    } catch (const std::exception& error) {
        return complain(error.what());
    }
}
