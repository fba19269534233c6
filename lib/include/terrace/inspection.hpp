#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include <terrace/object_key.hpp>

namespace terrace {

/// One object, or what is left of one, as a look at a store's files finds it.
class inspected_object {
public:
    std::string where;               ///< the file, and what else tells the place in it
    std::optional<object_key> key;   ///< none: the header does not say
    std::uint64_t payload_bytes = 0; ///< as the header says
    std::uint64_t fingerprint = 0;   ///< of its layout
    std::string problem;             ///< what is wrong with it; empty: every byte is as it was stored
    bool being_written = false;      ///< somebody is at it: that is the problem, and nothing is wrong
};

/// Is told of each object that an inspection finds.
using inspection_report = std::function<void(const inspected_object&)>;

} // namespace terrace
