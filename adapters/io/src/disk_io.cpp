#include <terrace/io/disk_io.hpp>

#include <fmt/format.h>
#include <stdexcept>
#include <system_error>

#include "thread_io.hpp"
#if TERRACE_HAS_URING
#include "uring_io.hpp"
#endif

namespace terrace::io {

namespace {

void check(const disk_io_options& options)
{
    if (options.depth < 1 || options.depth > 4096)
        throw std::invalid_argument(fmt::format("disk i/o: depth is {}, expected 1 to 4096", options.depth));
    if (options.threads < 1 || options.threads > 256)
        throw std::invalid_argument(fmt::format("disk i/o: threads is {}, expected 1 to 256", options.threads));
}

} // namespace

io_backend parse_io_backend(std::string_view text)
{
    if (text == "auto")
        return io_backend::automatic;
    if (text == "uring")
        return io_backend::uring;
    if (text == "threads")
        return io_backend::threads;
    throw std::invalid_argument(fmt::format("disk i/o: {:?}, expected auto, uring or threads", text));
}

std::unique_ptr<disk_io> disk_io::make(const disk_io_options& options)
{
    check(options);
    if (options.backend == io_backend::threads)
        return std::make_unique<thread_io>(options.threads);
#if TERRACE_HAS_URING
    try {
        return std::make_unique<uring_io>(options);
    } catch (const std::system_error&) { // an old kernel, or one that keeps it from us, as containers' often do
        if (options.backend == io_backend::uring)
            throw;
    }
#else
    if (options.backend == io_backend::uring)
        throw std::system_error(std::make_error_code(std::errc::function_not_supported),
                                "disk i/o: io_uring: built without liburing");
#endif
    return std::make_unique<thread_io>(options.threads);
}

} // namespace terrace::io
