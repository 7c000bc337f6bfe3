#pragma once

#include <stdexcept>
#include <string>

namespace segexport {

/// What a person can mend: a broken manifest, an image that is none, a model that the runtime refuses.
class Error : public std::runtime_error {
public:
    explicit Error(const std::string& what, std::string cause = "", std::string hint = "")
        : std::runtime_error(what), cause(std::move(cause)), hint(std::move(hint)) {}

    std::string cause;  ///< Why; may be empty.
    std::string hint;   ///< How to mend it; may be empty.
};

}  // namespace segexport
