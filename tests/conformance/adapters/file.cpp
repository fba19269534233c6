#include "conformance/subject.hpp"
#include "support/temporary_directory.hpp"

#include <terrace/file_adapter.hpp>

namespace terrace::conformance {
namespace {

constexpr std::uint64_t header_bytes = 4096;

class file_place final : public place {
public:
    explicit file_place(file_options options) : options_{std::move(options)} { options_.directory = directory_.path(); }

    std::unique_ptr<l2_adapter> open(std::uint64_t capacity_bytes) override
    {
        file_options options = options_;
        if (capacity_bytes != 0)
            options.capacity_bytes = capacity_bytes;
        return std::make_unique<file_adapter>(options);
    }

private:
    test::temporary_directory directory_;
    file_options options_;
};

subject file(std::string name, const file_options& options)
{
    subject s;
    s.name = std::move(name);
    s.make_place = [options] { return std::make_unique<file_place>(options); };
    s.persists = true;
    s.charge = [](std::uint64_t bytes) { return header_bytes + bytes; };
    s.capacity_for = [](std::uint64_t objects, std::uint64_t bytes) { return objects * (header_bytes + bytes); };
    return s;
}

/// Past the page cache whatever the size, where the file system can.
file_options direct(file_io io)
{
    file_options options{""};
    options.io = io;
    options.direct = direct_io::on;
    return options;
}

file_options bounded_s3fifo()
{
    file_options options = direct(file_io::automatic);
    options.capacity_bytes = 64 << 20;
    options.eviction = "s3fifo";
    return options;
}

const registration plain{file("file", file_options{""})};
const registration bounded{file("file, direct, bounded, s3fifo", bounded_s3fifo())};
const registration behind_faults{wrapped(file("file, direct by threads", direct(file_io::threads)))};

} // namespace
} // namespace terrace::conformance
