#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <terrace/l2_adapter.hpp>

namespace terrace::conformance {

/// Somewhere that an adapter keeps its objects: fresh and empty when it is made, gone when it is destroyed.
class place {
public:
    place() = default;
    place(const place&) = delete;
    place& operator=(const place&) = delete;
    virtual ~place() = default;

    /// An adapter in this place, the only one at a time.
    ///
    /// capacity_bytes  0: as much as the largest case needs, which is less than 64 MiB
    virtual std::unique_ptr<l2_adapter> open(std::uint64_t capacity_bytes) = 0;
};

/// What the suite has to know of an adapter. What the adapter does is not here: that is the contract, in
/// terrace/l2_adapter.hpp, and no part of it is optional.
struct subject {
    std::string name;
    std::function<std::unique_ptr<place>()> make_place;

    /// Whether the objects are there again when the place is opened again.
    bool persists = false;

    /// What an object of so many bytes counts in used_bytes.
    std::function<std::uint64_t(std::uint64_t)> charge = [](std::uint64_t bytes) { return bytes; };

    /// The smallest capacity that has room for so many objects of so many bytes each; none if it has no capacity.
    std::function<std::uint64_t(std::uint64_t objects, std::uint64_t bytes)> capacity_for;
};

/// All of them, or those with $TERRACE_ADAPTER in their names.
[[nodiscard]] const std::vector<subject>& subjects();

/// The same adapter behind a fault adapter without rules.
[[nodiscard]] subject wrapped(subject s);

/// Adds one: a global of this type in a file below adapters/.
struct registration {
    explicit registration(subject s);
};

} // namespace terrace::conformance

/// Runs what follows for each adapter, as a subcase with its name.
#define FOR_EACH_ADAPTER(adapter)                                                                                      \
    for (const terrace::conformance::subject& adapter : terrace::conformance::subjects())                              \
    SUBCASE(adapter.name.c_str())

/// The same for those that have a capacity.
#define FOR_EACH_BOUNDED_ADAPTER(adapter)                                                                              \
    for (const terrace::conformance::subject& adapter : terrace::conformance::subjects())                              \
        if (adapter.capacity_for)                                                                                      \
    SUBCASE(adapter.name.c_str())
