#include "conformance/subject.hpp"
#include "support/temporary_directory.hpp"

#include <terrace/file_adapter.hpp>

namespace terrace::conformance {
namespace {

constexpr std::uint64_t header_bytes = 4096;

class file_place final : public place {
public:
    file_place(std::string eviction, std::uint64_t default_capacity_bytes)
        : eviction_{std::move(eviction)},
          default_capacity_bytes_{default_capacity_bytes}
    {
    }

    std::unique_ptr<l2_adapter> open(std::uint64_t capacity_bytes) override
    {
        file_options options{directory_.path()};
        options.capacity_bytes = capacity_bytes != 0 ? capacity_bytes : default_capacity_bytes_;
        options.eviction = eviction_;
        return std::make_unique<file_adapter>(options);
    }

private:
    test::temporary_directory directory_;
    std::string eviction_;
    std::uint64_t default_capacity_bytes_;
};

subject file(std::string name, std::string eviction, std::uint64_t default_capacity_bytes)
{
    subject s;
    s.name = std::move(name);
    s.make_place = [eviction, default_capacity_bytes] {
        return std::make_unique<file_place>(eviction, default_capacity_bytes);
    };
    s.persists = true;
    s.charge = [](std::uint64_t bytes) { return header_bytes + bytes; };
    s.capacity_for = [](std::uint64_t objects, std::uint64_t bytes) { return objects * (header_bytes + bytes); };
    return s;
}

const registration plain{file("file", "lru", 0)};
const registration behind_faults{wrapped(file("file", "lru", 0))};
const registration bounded{file("file, bounded, s3fifo", "s3fifo", 64 << 20)};

} // namespace
} // namespace terrace::conformance
