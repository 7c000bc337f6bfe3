// libpng reports an error by longjmp, which skips destructors: what owns memory lives outside the function that sets
// the jump, and only pointers and numbers live inside.
#include <png.h>

#include <csetjmp>
#include <cstring>

#include "image_files.h"
#include "segexport/error.h"

namespace segexport {
namespace {

struct Reading {
    const Bytes* bytes;
    std::size_t at = 0;
    bool keeps_ids = false;  ///< One channel as it is stored, and not colours.
    png_uint_32 width = 0, height = 0;
    int depth = 8;
    Bytes samples;
    std::vector<png_bytep> rows;
    int orientation = 1;
    char failure[128] = "";
    std::exception_ptr refused;
};

void keep_failure(png_structp png, png_const_charp message) {
    auto* failure = static_cast<char*>(png_get_error_ptr(png));
    std::strncpy(failure, message, 127);
    png_longjmp(png, 1);
}

void ignore(png_structp, png_const_charp) {}

void feed(png_structp png, png_bytep out, png_size_t count) {
    auto* reading = static_cast<Reading*>(png_get_io_ptr(png));
    if (count > reading->bytes->size() - reading->at) {
        png_error(png, "the file is truncated");
    }
    std::memcpy(out, reading->bytes->data() + reading->at, count);
    reading->at += count;
}

/// Prepares the buffers, now that the size is known; false where the image is refused.
bool make_room(Reading& reading, std::size_t row_bytes) {
    try {
        require_fair_size(reading.width, reading.height);
        reading.samples.resize(row_bytes * reading.height);
        reading.rows.resize(reading.height);
        for (std::size_t y = 0; y < reading.rows.size(); ++y) {
            reading.rows[y] = reading.samples.data() + y * row_bytes;
        }
        return true;
    } catch (...) {
        reading.refused = std::current_exception();
        return false;
    }
}

/// Whether the file was read; nothing with a destructor lives here.
bool read(png_structp png, png_infop info, Reading& reading) {
    if (setjmp(png_jmpbuf(png)) != 0) {
        return false;
    }
    png_set_user_limits(png, 0x7fffffff, 0x7fffffff);  // `make_room` has the limits
    png_set_read_fn(png, &reading, feed);
    png_read_info(png, info);
    reading.width = png_get_image_width(png, info);
    reading.height = png_get_image_height(png, info);
    const int color = png_get_color_type(png, info);
    reading.depth = png_get_bit_depth(png, info);
    if (reading.keeps_ids) {
        if (color != PNG_COLOR_TYPE_GRAY && color != PNG_COLOR_TYPE_PALETTE) {
            png_error(png, "a colour picture; class ids have one channel");
        }
        if (reading.depth < 8) {
            png_set_packing(png);
            reading.depth = 8;
        }
    } else {
        if (color == PNG_COLOR_TYPE_PALETTE) {
            png_set_palette_to_rgb(png);
        }
        if (color == PNG_COLOR_TYPE_GRAY || color == PNG_COLOR_TYPE_GRAY_ALPHA) {
            png_set_expand_gray_1_2_4_to_8(png);
            png_set_gray_to_rgb(png);
        }
        png_set_strip_16(png);
        png_set_strip_alpha(png);
    }
    png_set_interlace_handling(png);
    png_read_update_info(png, info);
    if (!make_room(reading, png_get_rowbytes(png, info))) {
        return false;
    }
    png_read_image(png, reading.rows.data());
    png_read_end(png, info);
#ifdef PNG_eXIf_SUPPORTED
    png_uint_32 size = 0;
    png_bytep exif = nullptr;
    if (png_get_eXIf_1(png, info, &size, &exif) != 0) {
        reading.orientation = exif_orientation(exif, size);
    }
#endif
    return true;
}

Reading decode(const Bytes& bytes, bool keeps_ids) {
    Reading reading;
    reading.bytes = &bytes;
    reading.keeps_ids = keeps_ids;
    png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, reading.failure, keep_failure, ignore);
    png_infop info = png == nullptr ? nullptr : png_create_info_struct(png);
    const bool done = info != nullptr && read(png, info, reading);
    png_destroy_read_struct(&png, &info, nullptr);
    if (reading.refused) {
        std::rethrow_exception(reading.refused);
    }
    if (!done) {
        throw Error("the image cannot be decoded", reading.failure);
    }
    return reading;
}

struct Writing {
    Bytes bytes;
    std::vector<png_bytep> rows;
    char failure[128] = "";
};

void collect(png_structp png, png_bytep data, png_size_t count) {
    auto& bytes = static_cast<Writing*>(png_get_io_ptr(png))->bytes;
    bytes.insert(bytes.end(), data, data + count);
}

void nothing_to_flush(png_structp) {}

bool write(png_structp png, png_infop info, Writing& writing, Size size, int channels, int bits) {
    if (setjmp(png_jmpbuf(png)) != 0) {
        return false;
    }
    png_set_write_fn(png, &writing, collect, nothing_to_flush);
    png_set_IHDR(png, info, static_cast<png_uint_32>(size.width), static_cast<png_uint_32>(size.height), bits,
                 channels == 1 ? PNG_COLOR_TYPE_GRAY : PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_write_info(png, info);
    png_write_image(png, writing.rows.data());
    png_write_end(png, info);
    return true;
}

}  // namespace

bool is_png(const Bytes& bytes) { return bytes.size() >= 8 && png_sig_cmp(bytes.data(), 0, 8) == 0; }

Decoded decode_png(const Bytes& bytes) {
    Reading reading = decode(bytes, false);
    const Size size{static_cast<int>(reading.width), static_cast<int>(reading.height)};
    return {{size, std::move(reading.samples)}, reading.orientation};
}

Mask decode_png_mask(const Bytes& bytes) {
    const Reading reading = decode(bytes, true);
    Mask mask{{static_cast<int>(reading.width), static_cast<int>(reading.height)}, {}};
    mask.ids.reserve(mask.size.pixels());
    const std::size_t step = reading.depth == 16 ? 2 : 1;
    for (std::size_t i = 0; i < reading.samples.size(); i += step) {
        const std::uint16_t high = reading.samples[i];
        mask.ids.push_back(step == 1 ? high : static_cast<std::uint16_t>(high << 8 | reading.samples[i + 1]));
    }
    return mask;
}

Bytes encode_png(Size size, int channels, int bits, const std::uint8_t* samples) {
    Writing writing;
    const std::size_t row_bytes = static_cast<std::size_t>(size.width) * channels * bits / 8;
    for (int y = 0; y < size.height; ++y) {
        writing.rows.push_back(const_cast<png_bytep>(samples) + y * row_bytes);
    }
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, writing.failure, keep_failure, ignore);
    png_infop info = png == nullptr ? nullptr : png_create_info_struct(png);
    const bool done = info != nullptr && write(png, info, writing, size, channels, bits);
    png_destroy_write_struct(&png, &info);
    if (!done) {
        throw Error("the picture cannot be encoded", writing.failure);
    }
    return std::move(writing.bytes);
}

}  // namespace segexport
