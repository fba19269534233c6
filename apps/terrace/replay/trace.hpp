#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <iosfwd>
#include <limits>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

namespace terrace::replay {

/// Tokens of the prompt that one hash id stands for; the last block of a prompt may hold fewer.
inline constexpr std::uint64_t block_tokens = 512;

/// One request of a trace.
struct trace_request {
    std::uint64_t timestamp_ms = 0;      ///< of its arrival
    std::uint64_t input_tokens = 0;      ///< of the prompt, >= 1
    std::uint64_t output_tokens = 0;     ///< of the answer
    std::vector<std::uint64_t> hash_ids; ///< one for each block of the prompt, all different

    friend bool operator==(const trace_request&, const trace_request&) = default;
};

/// Why a trace cannot be replayed: "FILE:LINE: what was wrong and what was expected".
class trace_error : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

/// Every request of a trace.
inline constexpr std::size_t all_requests = std::numeric_limits<std::size_t>::max();

/// Reads the first requests of a trace, one JSON object a line:
///
///     {"timestamp": 0, "input_length": 900, "output_length": 12, "hash_ids": [0, 1]}
///
/// Fields of other names are passed over, and so are blank lines. The form is that of the traces published with
/// Mooncake (Qin et al., FAST 2025).
///
/// name    of the file, for error messages
/// Errors  trace_error: a line that is not such an object, a negative number, hash_ids that repeat or that are not one
///         for each 512 tokens of input_length, or a trace without requests
[[nodiscard]] std::vector<trace_request> read_trace(std::istream& in, const std::string& name,
                                                    std::size_t most = all_requests);

/// The same from a file; one that cannot be read is a trace_error as well.
[[nodiscard]] std::vector<trace_request> read_trace(const std::filesystem::path& file, std::size_t most = all_requests);

/// Writes what read_trace() reads.
void write_trace(std::ostream& out, std::span<const trace_request> requests);

} // namespace terrace::replay
