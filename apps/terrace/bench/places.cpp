#include "bench/places.hpp"

#include <atomic>
#include <fmt/format.h>

#include <terrace/adapter_registry.hpp>
#include <terrace/text_options.hpp>

namespace terrace::bench {
namespace {

namespace fs = std::filesystem;

/// A name that nothing else in this process has.
std::string fresh_name(const char* what)
{
    static std::atomic<unsigned> last{0};
    return fmt::format("{}-{}", what, ++last);
}

} // namespace

std::vector<place> places(const bench_options& options)
{
    std::vector<place> all{{.name = "memory", .spec = "memory:"}};
    if (!options.tmpfs.empty())
        all.push_back({.name = "file, tmpfs",
                       .spec = "file:{}?direct=off",
                       .cache = raw_files::cache::page_cache,
                       .parent = options.tmpfs});
    all.push_back({.name = "file, page cache",
                   .spec = "file:{}?direct=off",
                   .cache = raw_files::cache::page_cache,
                   .parent = options.directory});
    all.push_back({.name = "file, O_DIRECT",
                   .spec = "file:{}?direct=on",
                   .cache = raw_files::cache::direct,
                   .parent = options.directory});
    all.push_back({.name = "segment",
                   .spec = "segment:{}",
                   .cache = raw_files::cache::direct,
                   .parent = options.directory,
                   .segment = true});
    return all;
}

placed_adapter::placed_adapter(const place& where)
{
    if (!where.in_memory())
        directory_ = where.parent / fresh_name("objects");
    adapter_ = make_adapter(fmt::format(fmt::runtime(where.spec), directory_.string()));
}

placed_adapter::~placed_adapter()
{
    adapter_.reset();
    std::error_code ignored;
    if (!directory_.empty())
        fs::remove_all(directory_, ignored);
}

std::unique_ptr<raw_files> raw_files_for(const place& where, std::size_t objects, std::size_t object_bytes,
                                         std::size_t depth)
{
    if (where.in_memory())
        return nullptr;
    const auto layout = where.segment ? raw_files::arrangement::one_file : raw_files::arrangement::a_file_each;
    return std::make_unique<raw_files>(where.parent / fresh_name("raw"), *where.cache, layout, objects, object_bytes,
                                       depth);
}

std::string batch_text(std::size_t objects, std::size_t object_bytes)
{
    return fmt::format("{} x {}", objects, format_bytes(object_bytes));
}

} // namespace terrace::bench
