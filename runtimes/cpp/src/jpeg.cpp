// libjpeg reports an error by a callback that must not return. As in png.cpp, what owns memory lives outside the
// function that sets the jump.
#include <cstdio>
#include <jerror.h>
#include <jpeglib.h>

#include <algorithm>
#include <csetjmp>
#include <cstring>

#include "image_files.h"
#include "segexport/error.h"

namespace segexport {
namespace {

constexpr char kExif[] = "Exif\0";  // and a second zero, which ends the literal

struct Failure {
    jpeg_error_mgr base;
    std::jmp_buf jump;
    char message[JMSG_LENGTH_MAX] = "";
};

[[noreturn]] void leave(j_common_ptr info) {
    auto* failure = reinterpret_cast<Failure*>(info->err);
    (*info->err->format_message)(info, failure->message);
    std::longjmp(failure->jump, 1);
}

/// A file that ends early is an error; libjpeg would fill its rest with grey.
void warn(j_common_ptr info, int level) {
    if (level < 0 && info->err->msg_code == JWRN_JPEG_EOF) {
        leave(info);
    }
}

struct Reading {
    const Bytes* bytes;
    Picture picture;
    std::vector<std::uint8_t> row;
    int orientation = 1;
    std::exception_ptr refused;
};

bool make_room(Reading& reading, const jpeg_decompress_struct& info) {
    try {
        require_fair_size(info.image_width, info.image_height);
        reading.picture.size = {static_cast<int>(info.image_width), static_cast<int>(info.image_height)};
        reading.picture.rgb.resize(3 * reading.picture.size.pixels());
        reading.row.resize(4 * static_cast<std::size_t>(info.image_width));
        return true;
    } catch (...) {
        reading.refused = std::current_exception();
        return false;
    }
}

int orientation_of(const jpeg_decompress_struct& info) {
    for (jpeg_saved_marker_ptr marker = info.marker_list; marker != nullptr; marker = marker->next) {
        if (marker->marker == JPEG_APP0 + 1 && marker->data_length > sizeof kExif &&
            std::memcmp(marker->data, kExif, sizeof kExif) == 0) {
            return exif_orientation(marker->data + sizeof kExif, marker->data_length - sizeof kExif);
        }
    }
    return 1;
}

/// Pillow's conversion; such files are stored inverted, as Adobe does.
void colors_of_cmyk(const std::uint8_t* in, std::uint8_t* out, std::size_t pixels) {
    for (std::size_t i = 0; i < pixels; ++i, in += 4, out += 3) {
        const int white = in[3];  // 255 - black
        for (int c = 0; c < 3; ++c) {
            const int product = (255 - in[c]) * white + 128;
            out[c] = static_cast<std::uint8_t>(std::max(0, white - ((product + (product >> 8)) >> 8)));
        }
    }
}

bool read(jpeg_decompress_struct& info, Failure& failure, Reading& reading) {
    if (setjmp(failure.jump) != 0) {
        return false;
    }
    jpeg_create_decompress(&info);
    jpeg_mem_src(&info, reading.bytes->data(), reading.bytes->size());
    jpeg_save_markers(&info, JPEG_APP0 + 1, 0xFFFF);
    jpeg_read_header(&info, TRUE);
    reading.orientation = orientation_of(info);
    if (!make_room(reading, info)) {
        return false;
    }
    const bool cmyk = info.num_components == 4;
    info.out_color_space = cmyk ? JCS_CMYK : JCS_RGB;
    jpeg_start_decompress(&info);
    const std::size_t width = info.output_width;
    while (info.output_scanline < info.output_height) {
        std::uint8_t* line = reading.picture.rgb.data() + 3 * width * info.output_scanline;
        JSAMPROW row = cmyk ? reading.row.data() : line;
        jpeg_read_scanlines(&info, &row, 1);
        if (cmyk) {
            colors_of_cmyk(reading.row.data(), line, width);
        }
    }
    jpeg_finish_decompress(&info);
    return true;
}

}  // namespace

bool is_jpeg(const Bytes& bytes) {
    return bytes.size() >= 3 && bytes[0] == 0xFF && bytes[1] == 0xD8 && bytes[2] == 0xFF;
}

Decoded decode_jpeg(const Bytes& bytes) {
    Reading reading;
    reading.bytes = &bytes;
    Failure failure{};
    jpeg_decompress_struct info{};
    info.err = jpeg_std_error(&failure.base);
    failure.base.error_exit = leave;
    failure.base.emit_message = warn;
    const bool done = read(info, failure, reading);
    jpeg_destroy_decompress(&info);
    if (reading.refused) {
        std::rethrow_exception(reading.refused);
    }
    if (!done) {
        throw Error("the image cannot be decoded", failure.message);
    }
    return {std::move(reading.picture), reading.orientation};
}

}  // namespace segexport
