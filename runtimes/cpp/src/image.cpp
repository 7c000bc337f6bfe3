#include "segexport/image.h"

#include <fstream>
#include <system_error>

#include "image_files.h"
#include "segexport/error.h"

namespace segexport {
namespace {

constexpr std::uintmax_t kMaxFileBytes = 1u << 30;

Bytes read_file(const std::filesystem::path& file) {
    std::error_code ignored;
    if (!std::filesystem::is_regular_file(file, ignored)) {
        throw Error(file.string() + (std::filesystem::exists(file, ignored) ? ": not a file" : ": no such file"));
    }
    const std::uintmax_t size = std::filesystem::file_size(file);
    std::ifstream stream(file, std::ios::binary);
    if (size > kMaxFileBytes || !stream) {
        throw Error(file.string() + (stream ? ": over 1 GiB" : ": cannot be read"));
    }
    Bytes bytes(size);
    stream.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(size));
    bytes.resize(static_cast<std::size_t>(stream.gcount()));
    return bytes;
}

/// Writes beside the file and renames, so that a crash leaves no half of it.
void write_file(const std::filesystem::path& file, const Bytes& bytes) {
    std::filesystem::path part = file;
    part += ".part";
    {
        std::ofstream stream(part, std::ios::binary);
        stream.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
        stream.close();
        if (!stream) {
            std::error_code ignored;
            std::filesystem::remove(part, ignored);
            throw Error(file.string() + ": cannot be written", "", "is there room, and may this folder be written to?");
        }
    }
    std::error_code failed;
    std::filesystem::rename(part, file, failed);
    if (failed) {
        throw Error(file.string() + ": cannot be written", failed.message());
    }
}

/// Pixel (x, y) of the result is pixel (across, down) of the source.
Picture oriented(Picture source, int orientation) {
    if (orientation <= 1) {
        return source;
    }
    const int width = source.size.width, height = source.size.height;
    const bool turned = orientation >= 5;
    Picture result{turned ? Size{height, width} : source.size, std::vector<std::uint8_t>(source.rgb.size())};
    std::uint8_t* out = result.rgb.data();
    for (int y = 0; y < result.size.height; ++y) {
        for (int x = 0; x < result.size.width; ++x, out += 3) {
            int across = turned ? y : x, down = turned ? x : y;
            if (orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8) {
                across = width - 1 - across;
            }
            if (orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7) {
                down = height - 1 - down;
            }
            const std::uint8_t* pixel = source.rgb.data() + 3 * (static_cast<std::size_t>(down) * width + across);
            out[0] = pixel[0];
            out[1] = pixel[1];
            out[2] = pixel[2];
        }
    }
    return result;
}

}  // namespace

void require_fair_size(std::uint64_t width, std::uint64_t height) {
    const auto side = static_cast<std::uint64_t>(kMaxSidePixels);
    if (width < 1 || height < 1) {
        throw Error("the image has no pixels");
    }
    if (width > side || height > side || width * height > static_cast<std::uint64_t>(kMaxPixels)) {
        throw Error("the image is too large, " + std::to_string(width) + "x" + std::to_string(height) + " pixels",
                    "the limits are 64 million pixels and 20000 pixels on a side",
                    "make it smaller first, or cut it into tiles");
    }
}

int exif_orientation(const std::uint8_t* data, std::size_t size) {
    if (size < 14 || data[0] != data[1] || (data[0] != 'I' && data[0] != 'M')) {
        return 1;
    }
    const bool little = data[0] == 'I';
    const auto number = [&](std::size_t at, int bytes) {
        std::size_t value = 0;
        for (int i = 0; i < bytes; ++i) {
            value = value << 8 | data[at + (little ? bytes - 1 - i : i)];
        }
        return value;
    };
    const std::size_t directory = number(4, 4);
    if (directory > size - 2) {
        return 1;
    }
    const std::size_t entries = number(directory, 2);
    for (std::size_t i = 0, at = directory + 2; i < entries && at + 12 <= size; ++i, at += 12) {
        if (number(at, 2) == 0x0112) {
            const std::size_t value = number(at + 8, 2);
            return value >= 1 && value <= 8 ? static_cast<int>(value) : 1;
        }
    }
    return 1;
}

Picture read_picture(const std::filesystem::path& file) {
    const Bytes bytes = read_file(file);
    try {
        if (is_png(bytes) || is_jpeg(bytes)) {
            Decoded decoded = is_png(bytes) ? decode_png(bytes) : decode_jpeg(bytes);
            return oriented(std::move(decoded.picture), decoded.orientation);
        }
    } catch (const Error& error) {
        throw Error(file.string() + ": " + error.what(), error.cause, error.hint);
    }
    throw Error(file.string() + ": not an image",
                bytes.empty() ? "the file is empty" : "PNG and JPEG are read, this is neither");
}

Mask read_mask(const std::filesystem::path& file) {
    const Bytes bytes = read_file(file);
    try {
        if (is_png(bytes)) {
            return decode_png_mask(bytes);
        }
    } catch (const Error& error) {
        throw Error(file.string() + ": " + error.what(), error.cause, error.hint);
    }
    throw Error(file.string() + ": not a PNG");
}

void write_png(const std::filesystem::path& file, const Picture& picture) {
    write_file(file, encode_png(picture.size, 3, 8, picture.rgb.data()));
}

void write_png(const std::filesystem::path& file, const Mask& mask) {
    bool wide = false;
    for (const std::uint16_t id : mask.ids) {
        wide = wide || id > 255;
    }
    Bytes samples;
    samples.reserve(mask.ids.size() * (wide ? 2 : 1));
    for (const std::uint16_t id : mask.ids) {
        if (wide) {
            samples.push_back(static_cast<std::uint8_t>(id >> 8));
        }
        samples.push_back(static_cast<std::uint8_t>(id & 255));
    }
    write_file(file, encode_png(mask.size, 1, wide ? 16 : 8, samples.data()));
}

}  // namespace segexport
