#pragma once

#include <filesystem>
#include <string>

namespace segexport {

/// sha256 (FIPS 180-4) of a file's bytes, as 64 hexadecimal digits.
///
/// @throws Error  The file cannot be read.
std::string sha256_of(const std::filesystem::path& file);

}  // namespace segexport
