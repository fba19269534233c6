// A program that has nothing but what is installed: it stores some objects in each adapter, drops them from L1, and
// prefetches them again. Takes the path of a directory that it may use.

#include "neighbour.hpp"

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <iostream>
#include <string>
#include <vector>

#include <terrace/adapter_registry.hpp>
#include <terrace/configuration.hpp>
#include <terrace/cuda/device.hpp>
#include <terrace/fault_adapter.hpp>
#include <terrace/file_adapter.hpp>
#include <terrace/file_inspection.hpp>
#include <terrace/memory_adapter.hpp>
#include <terrace/metrics.hpp>
#include <terrace/segment_adapter.hpp>
#include <terrace/segment_inspection.hpp>
#include <terrace/terrace.hpp>
#include <terrace/version.hpp>

namespace {

namespace asio = boost::asio;

void expect(bool condition, const std::string& what)
{
    if (!condition)
        throw std::runtime_error("not so: " + what);
}

asio::awaitable<void> round_trip(terrace::storage_manager& manager)
{
    const auto layout = terrace::memory_layout::bytes(4096);
    const std::vector<terrace::token_hasher::token> prompt(1024, 7);
    const auto keys = terrace::token_hasher{256}.keys(prompt, "some-model");
    {
        auto staged = manager.reserve_write(keys, layout);
        for (std::size_t i = 0; i < staged.size(); ++i)
            std::ranges::fill(staged.bytes(i), static_cast<std::byte>(i + 1));
        staged.commit();
    }
    co_await manager.flush();
    manager.clear(terrace::clear_mode::unlocked);
    auto hits = co_await manager.prefetch({keys, layout});
    expect(hits.prefix_hits == keys.size() && hits.l2_hits == keys.size(), "all chunks come back from L2");
    for (std::size_t i = 0; i < keys.size(); ++i)
        expect(hits.lease.bytes(i).back() == static_cast<std::byte>(i + 1), "bytes are as they were stored");
    hits.lease = {};
    co_await manager.close();
}

terrace::config small_config()
{
    terrace::config config;
    config.l1.capacity_bytes = 1 << 20;
    return config;
}

void run(std::unique_ptr<terrace::l2_adapter> adapter, const terrace::config& config = small_config())
{
    asio::io_context context;
    terrace::storage_manager manager{context.get_executor(), config};
    manager.add_adapter(std::move(adapter));
    std::exception_ptr failure;
    bool called = false;
    asio::co_spawn(context, round_trip(manager), [&](std::exception_ptr error) { failure = error; });
    call_soon(context.get_executor(), [&] { called = true; });
    context.run();
    if (failure)
        std::rethrow_exception(failure);
    expect(called, "the neighbour's timer went off");
    const std::string page = terrace::prometheus_text(manager.status(), {{"model", "some-model"}});
    expect(page.find("terrace_prefetch_requests_total{model=\"some-model\"} 1") != std::string::npos,
           "the metrics have the prefetch:\n" + page);
}

/// The adapters and the settings of a configuration file.
void run_configured(const std::filesystem::path& directory)
{
    terrace::configuration_sources sources;
    sources.file = {"terrace.toml", "[l1]\ncapacity = \"1MiB\"\n\n[[adapters]]\nspec = \"memory:\"\n\n"
                                    "[[adapters]]\nspec = \"file:" +
                                        (directory / "configured").string() + "\"\n"};
    sources.check_adapter = &terrace::check_adapter;
    const terrace::configuration configuration = terrace::read_configuration(sources);
    expect(configuration.adapters.size() == 2, "there are two adapters");
    for (const terrace::configured_adapter& adapter : configuration.adapters)
        run(terrace::make_adapter(adapter.spec), configuration.engine);
    try {
        sources.file->text += "spec = 7\n";
        (void)terrace::read_configuration(sources);
        expect(false, "a bad file throws");
    } catch (const terrace::configuration_error& e) {
        expect(!e.problems().empty(), "the error says what is wrong");
    }
}

/// What is thrown in a library and caught here, and what is compared by address.
void cross_the_boundary()
{
    try {
        (void)terrace::adapter_spec::parse("no type");
        expect(false, "a bad spec throws");
    } catch (const std::invalid_argument& e) {
        expect(std::string{e.what()}.find("no type") != std::string::npos, "the error names the spec");
    }
    expect(terrace::object_key::parse("nonsense").error() == terrace::errc::malformed_key,
           "the error is the library's");
    std::unique_ptr<terrace::l2_adapter> adapter = std::make_unique<terrace::memory_adapter>();
    expect(dynamic_cast<terrace::demotion_source*>(adapter.get()) != nullptr, "the adapter is a demotion_source");
    expect(terrace::cuda::built_with_cuda() || terrace::cuda::why_no_device().has_value(), "no device without CUDA");
}

} // namespace

int main(int argc, char** argv)
try {
    expect(argc == 2, "there is one argument, a directory");
    const std::filesystem::path directory = argv[1];
    cross_the_boundary();
    run(terrace::make_memory_adapter(terrace::adapter_spec::parse("memory:")));
    run(std::make_unique<terrace::file_adapter>(terrace::file_options{directory / "objects"}));
    run(terrace::make_segment_adapter(
        terrace::adapter_spec::parse("segment:" + (directory / "segments").string() + "?capacity=16MiB")));
    run(terrace::make_fault_adapter(std::make_unique<terrace::memory_adapter>(),
                                    std::make_shared<terrace::fault_control>()));
    run_configured(directory);
    expect(terrace::is_file_store(directory / "objects"), "the file adapter's directory is recognised");
    expect(terrace::is_segment_store(directory / "segments"), "the segment adapter's directory is recognised");
    std::puts("terrace " TERRACE_VERSION " is installed and works");
} catch (const std::exception& e) {
    std::cerr << "consumer: " << e.what() << '\n';
    return 1;
}
