#include "crash/journal.hpp"
#include "support/loop_device.hpp"
#include "support/temporary_directory.hpp"

#include <algorithm>
#include <array>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <doctest/doctest.h>
#include <filesystem>
#include <fstream>
#include <optional>
#include <random>
#include <spawn.h>
#include <string>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

#include <terrace/adapter_registry.hpp>
#include <terrace/l2_adapter.hpp>

namespace fs = std::filesystem;
using namespace terrace;

extern char** environ;

namespace {

std::uintmax_t size_of(const fs::path& file)
{
    std::error_code none;
    const std::uintmax_t bytes = fs::file_size(file, none);
    return none ? 0 : bytes;
}

bool has_acknowledged(const fs::path& log)
{
    return std::ranges::any_of(crash::read_journal(log), [](const auto& key) { return key.second.acknowledged != 0; });
}

/// Starts a writer, and kills it after a while. The first is given the time to store something, so that there is
/// something to find; of the others every second one is given the time to open its store.
void write_and_kill(const std::string& adapter, const fs::path& log, std::uint64_t seed,
                    std::chrono::milliseconds after)
{
    std::array<std::string, 4> text{TERRACE_CRASH_WRITER, adapter, log.string(), std::to_string(seed)};
    std::array<char*, 5> arguments{};
    std::ranges::transform(text, arguments.begin(), [](std::string& s) { return s.data(); });
    const std::uintmax_t before = size_of(log);
    pid_t child = 0;
    REQUIRE(::posix_spawn(&child, text[0].c_str(), nullptr, nullptr, arguments.data(), environ) == 0);
    const auto is_ready = [&] {
        if (seed == 1)
            return has_acknowledged(log);
        return seed % 2 != 0 || size_of(log) != before;
    };
    for (int i = 0; i < 60'000 && !is_ready(); ++i)
        std::this_thread::sleep_for(std::chrono::milliseconds{1});
    std::this_thread::sleep_for(after); // the moment is the test's input, not something it waits for
    REQUIRE(::kill(child, SIGKILL) == 0);
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    REQUIRE(WIFSIGNALED(status)); // else it ended by itself, and said why
}

template <class T>
T run(asio::io_context& context, asio::awaitable<T> work)
{
    std::optional<T> answer;
    asio::co_spawn(context, std::move(work), [&](std::exception_ptr error, T value) {
        if (error)
            std::rethrow_exception(error);
        answer.emplace(std::move(value));
    });
    context.restart();
    context.run();
    return std::move(answer.value());
}

asio::awaitable<bool> closed(l2_adapter& adapter)
{
    co_await adapter.close();
    co_return true;
}

std::size_t rounds()
{
    const char* text = std::getenv("TERRACE_CRASH_ROUNDS");
    return text != nullptr ? std::strtoul(text, nullptr, 10) : 10;
}

/// What the folder's files say they hold, or the volume. Not what was being written: the kernel may hold on to it, and
/// to its lock, for a moment longer than to the process that it has killed, and the next start removes it.
std::uint64_t bytes_in(const fs::path& folder)
{
    if (fs::is_regular_file(folder))
        return fs::file_size(folder);
    std::uint64_t bytes = 0;
    for (const auto& file : fs::recursive_directory_iterator{folder})
        if (file.is_regular_file() && file.path().extension() != ".tmp")
            bytes += file.file_size();
    return bytes;
}

enum class place { directory, volume, device };
constexpr std::array<const char*, 3> place_names{"", " in one file", " on a block device"};

const char* to_string(place where)
{
    return place_names.at(static_cast<std::size_t>(where));
}

/// A file with holes, so large that nothing is evicted before the last round.
void make_volume(const fs::path& file)
{
    std::ofstream{file}.close();
    fs::resize_file(file, (1 + rounds()) * std::uint64_t{256} << 20);
}

/// Kills a writer again and again, and looks after each time at what it has left.
void survives_kills(const std::string& scheme, const std::string& options, place where)
{
    const test::temporary_directory folder;
    const fs::path objects = folder.path() / "objects";
    const fs::path log = folder.path() / "journal";
    if (where != place::directory)
        make_volume(objects);
    std::optional<test::loop_device> device;
    if (where == place::device && !(device = test::loop_device::over(objects))) {
        MESSAGE("no block device can be made here");
        return;
    }
    const std::string spec = scheme + (device ? device->path() : objects).string() + options;
    if (where != place::directory) { // a large volume takes longer to cut than its writers live
        asio::io_context context{1};
        const auto adapter = make_adapter(spec);
        CHECK(run(context, closed(*adapter)));
    }
    const std::uint64_t seed = 20'261'120;
    std::mt19937_64 random{seed};
    std::size_t found_in_all = 0;
    std::chrono::duration<double, std::milli> slowest{0};
    for (std::size_t round = 1; round <= rounds(); ++round) {
        CAPTURE(round);
        write_and_kill(spec, log, round, std::chrono::milliseconds{20 + random() % 180});

        asio::io_context context{1}; // outlives the adapter's threads
        const auto began = std::chrono::steady_clock::now();
        const auto adapter = make_adapter(spec);
        slowest = std::max<decltype(slowest)>(slowest, std::chrono::steady_clock::now() - began);
        std::size_t missing = 0;
        std::size_t wrong = 0;
        for (const auto& [n, expected] : crash::read_journal(log)) {
            const std::vector<object_key> keys(1, crash::key(n));
            const bool found = run(context, adapter->lookup_and_lock(keys)).test(0);
            std::vector<std::byte> bytes(crash::layout(n).size_bytes());
            const std::vector<load_item> items(1, load_item{keys[0], crash::layout(n), bytes});
            if (found && run(context, adapter->load(items)).test(0)) {
                ++found_in_all;
                wrong += std::ranges::none_of(expected.possible, [&, n = n](std::uint64_t version) {
                    return bytes == crash::payload(n, version);
                });
            } else if (expected.acknowledged != 0) {
                ++missing;
            }
        }
        CHECK(wrong == 0);
        CHECK(missing == 0);
        const adapter_status status = adapter->status();
        CHECK(status.corrupt_objects == 0); // what a kill cuts off is no object yet
        CHECK(status.used_bytes <= bytes_in(objects));
        if (scheme == "file:")
            CHECK(status.used_bytes == bytes_in(objects));
        CHECK(run(context, closed(*adapter)));
    }
    CHECK(found_in_all > 0);
    MESSAGE(scheme, options, std::string{to_string(where)}, ": ", rounds(), " kills, ", found_in_all,
            " objects found after them, opened in ", slowest.count(), " ms at most");
}

} // namespace

TEST_CASE("a writer killed at any moment leaves nothing wrong, and nothing missing that was acknowledged")
{
    struct setting {
        const char* scheme;
        const char* options;
        place where = place::directory;
    };
    const setting settings[] = {{"file:", ""},
                                {"file:", "?sync=data"},
                                {"segment:", "?segment=8MiB"},
                                {"segment:", "?segment=8MiB&sync=data"},
                                {"segment:", "?segment=8MiB", place::volume},
                                {"segment:", "?segment=8MiB&sync=data", place::device}};
    for (const auto& [scheme, options, where] : settings) {
        const std::string name = std::string{scheme} + options + to_string(where);
        SUBCASE(name.c_str())
        {
            survives_kills(scheme, options, where);
        }
    }
}
