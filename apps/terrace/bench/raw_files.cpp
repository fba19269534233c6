#include "bench/raw_files.hpp"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <fcntl.h>
#include <fmt/format.h>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <spawn.h>
#include <stdexcept>
#include <sys/wait.h>
#include <system_error>
#include <thread>
#include <unistd.h>

#include "bench/data.hpp"
#include "bench/measure.hpp"

namespace terrace::bench {
namespace {

namespace fs = std::filesystem;

/// The exit status of a program that is given no input, or none if it could not be started.
std::optional<int> run_program(std::vector<std::string> arguments)
{
    std::vector<char*> raw;
    for (auto& argument : arguments)
        raw.push_back(argument.data());
    raw.push_back(nullptr);
    posix_spawn_file_actions_t files;
    ::posix_spawn_file_actions_init(&files);
    for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
        ::posix_spawn_file_actions_addopen(&files, fd, "/dev/null", O_RDWR, 0);
    pid_t child = 0;
    const int failure = ::posix_spawnp(&child, raw.front(), &files, nullptr, raw.data(), environ);
    ::posix_spawn_file_actions_destroy(&files);
    if (failure != 0)
        return std::nullopt;
    int status = 0;
    while (::waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

bool fio_is_installed()
{
    static const bool installed = run_program({"fio", "--version"}) == 0;
    return installed;
}

[[noreturn]] void fail(const fs::path& path, const char* what)
{
    throw std::system_error(errno, std::generic_category(), fmt::format("{}: {}", path.string(), what));
}

/// A file that is open.
class open_file {
public:
    open_file(const fs::path& path, int flags) : path_{path}, fd_{::open(path.c_str(), flags | O_CLOEXEC, 0600)}
    {
        if (fd_ < 0)
            fail(path, "cannot be opened");
    }
    open_file(const open_file&) = delete;
    open_file& operator=(const open_file&) = delete;
    ~open_file() { ::close(fd_); }

    void read(std::span<std::byte> to, std::size_t offset) const
    {
        if (::pread(fd_, to.data(), to.size(), static_cast<off_t>(offset)) != static_cast<ssize_t>(to.size()))
            fail(path_, "cannot be read");
    }
    void write(std::span<const std::byte> from, std::size_t offset) const
    {
        if (::pwrite(fd_, from.data(), from.size(), static_cast<off_t>(offset)) != static_cast<ssize_t>(from.size()))
            fail(path_, "cannot be written");
    }

    [[nodiscard]] int descriptor() const noexcept { return fd_; }

private:
    fs::path path_;
    int fd_;
};

} // namespace

std::string raw_files::setting::to_string() const
{
    if (engine.empty())
        return fmt::format("{} threads", jobs);
    if (engine == "ring")
        return fmt::format("io_uring, depth {}", depth);
    return jobs == 1 && engine != "psync" ? fmt::format("fio {}, depth {}", engine, depth)
                                          : fmt::format("fio {}, {} jobs", engine, jobs);
}

raw_files::raw_files(fs::path directory, cache how, arrangement layout, std::size_t objects, std::size_t object_bytes,
                     std::size_t depth)
    : directory_{std::move(directory)},
      cache_{how},
      layout_{layout},
      objects_{objects},
      object_bytes_{object_bytes},
      read_settings_{candidates(depth)},
      write_settings_{read_settings_}
{
    fs::create_directories(directory_);
}

raw_files::~raw_files()
{
    std::error_code ignored;
    fs::remove_all(directory_, ignored);
}

std::vector<raw_files::setting> raw_files::candidates(std::size_t depth) const
{
    std::vector<setting> all;
    auto add = [&](const char* engine, std::size_t at_a_time, std::size_t jobs) {
        if (at_a_time <= objects_ && objects_ % jobs == 0 && jobs <= objects_)
            all.push_back({.engine = engine, .depth = at_a_time, .jobs = jobs});
    };
    if (cache_ == cache::direct) {
        for (const std::size_t d : depth == 0 ? std::vector<std::size_t>{4, 8, 16, 32} : std::vector{depth}) {
            if (ring_is_possible())
                add("ring", d, 1);
            if (fio_is_installed())
                add("io_uring", d, 1);
        }
    } else if (fio_is_installed()) {
        for (const std::size_t jobs : {1U, 2U, 4U})
            if (depth == 0 || jobs <= depth)
                add("psync", 1, jobs);
    }
    if (all.empty())
        all.push_back({.engine = "", .depth = 1, .jobs = depth == 0 ? 4 : std::min<std::size_t>(depth, 4)});
    return all;
}

double raw_files::read(std::size_t passes)
{
    return best_of(raw_direction::read, read_settings_, passes);
}

double raw_files::write()
{
    return best_of(raw_direction::write, write_settings_, 1);
}

double raw_files::best_of(raw_direction way, std::vector<setting>& settings, std::size_t passes)
{
    double best = 0;
    const auto tried = settings;
    for (const auto& how : tried) {
        const auto speed = transfer(way, how, passes);
        if (speed <= best)
            continue;
        best = speed;
        settings = {how}; // from now on it alone
    }
    name_ = settings.front().to_string();
    return best;
}

double raw_files::transfer(raw_direction way, const setting& how, std::size_t passes)
{
    if (how.engine.empty())
        return by_threads(way, how, passes);
    if (how.engine == "ring")
        return by_ring(way, how, passes);
    return by_fio(way, how, passes);
}

double raw_files::by_fio(raw_direction way, const setting& how, std::size_t passes)
{
    const bool reads = way == raw_direction::read;
    const bool one_file = layout_ == arrangement::one_file;
    const auto said = directory_ / "fio.json";
    const auto files = one_file ? 1 : objects_ / how.jobs;
    std::vector<std::string> arguments{
        "fio", "--name=raw", "--thread", "--group_reporting", "--output-format=json", "--gtod_reduce=1",
        "--disk_util=0", "--file_service_type=sequential",
        // What is read through the page cache is to be there; what is read past it is not.
        cache_ == cache::direct ? "--invalidate=1" : "--invalidate=0", fmt::format("--output={}", said.string()),
        fmt::format("--directory={}", (directory_ / (reads ? "read" : "write")).string()),
        fmt::format("--nrfiles={}", files), fmt::format("--openfiles={}", files),
        fmt::format("--filesize={}", one_file ? objects_ * object_bytes_ : object_bytes_),
        fmt::format("--bs={}", object_bytes_), fmt::format("--ioengine={}", how.engine),
        fmt::format("--iodepth={}", how.depth), fmt::format("--numjobs={}", how.jobs),
        fmt::format("--direct={}", cache_ == cache::direct ? 1 : 0), fmt::format("--rw={}", reads ? "read" : "write"),
        fmt::format("--loops={}", passes)};
    if (!reads && !one_file)
        arguments.insert(arguments.end(), {"--create_on_open=1", "--unlink=1"});
    fs::create_directories(directory_ / (reads ? "read" : "write"));
    const auto status = run_program(arguments);
    std::ifstream in{said};
    const auto answer = nlohmann::json::parse(in, nullptr, false);
    if (status != 0 || answer.is_discarded())
        throw std::runtime_error(fmt::format("fio failed in {}", directory_.string()));
    return answer.at("jobs").at(0).at(reads ? "read" : "write").at("bw_bytes").get<double>() / 0x1p30;
}

fs::path raw_files::path(std::size_t object) const
{
    return directory_ / fmt::format("own-{}", layout_ == arrangement::one_file ? 0 : object);
}

std::size_t raw_files::offset(std::size_t object) const
{
    return layout_ == arrangement::one_file ? object * object_bytes_ : 0;
}

void raw_files::make_files(raw_direction way) const
{
    const int flags = cache_ == cache::direct ? O_DIRECT : 0;
    if (way == raw_direction::read || layout_ == arrangement::one_file) {
        if (fs::exists(path(objects_ - 1)))
            return;
        const object_pool content{1, object_bytes_};
        for (std::size_t i = 0; i < objects_; ++i)
            open_file{path(i), O_WRONLY | O_CREAT | flags}.write(content.object(0), offset(i));
    } else {
        for (std::size_t i = 0; i < objects_; ++i)
            fs::remove(path(i));
    }
}

double raw_files::by_threads(raw_direction way, const setting& how, std::size_t passes)
{
    const bool reads = way == raw_direction::read;
    const int flags = cache_ == cache::direct ? O_DIRECT : 0;
    const object_pool memory{how.jobs, object_bytes_};
    make_files(way);

    std::atomic<std::size_t> next{0};
    std::vector<std::thread> threads;
    const stopwatch watch;
    for (std::size_t n = 0; n < how.jobs; ++n)
        threads.emplace_back([&, n] {
            for (auto i = next++; i < objects_ * passes; i = next++)
                if (reads)
                    open_file{path(i % objects_), O_RDONLY | flags}.read(memory.object(n), offset(i % objects_));
                else
                    open_file{path(i % objects_), O_WRONLY | O_CREAT | flags}.write(memory.object(n),
                                                                                    offset(i % objects_));
        });
    for (auto& thread : threads)
        thread.join();
    return static_cast<double>(objects_ * passes * object_bytes_) / watch.seconds() / 0x1p30;
}

double raw_files::by_ring(raw_direction way, const setting& how, std::size_t passes)
{
    const int flags = (way == raw_direction::read ? O_RDONLY : O_WRONLY | O_CREAT) | O_DIRECT;
    if (!memory_)
        memory_.emplace(objects_, object_bytes_);
    make_files(way);

    const stopwatch watch;
    std::vector<std::unique_ptr<open_file>> files(layout_ == arrangement::one_file ? 1 : objects_);
    for (std::size_t i = 0; i < files.size(); ++i)
        files[i] = std::make_unique<open_file>(path(i), flags);
    std::vector<raw_call> calls;
    for (std::size_t i = 0; i < objects_ * passes; ++i)
        calls.push_back({files[i % files.size()]->descriptor(), offset(i % objects_), memory_->object(i)});
    make_by_ring(way, calls, how.depth);
    return static_cast<double>(objects_ * passes * object_bytes_) / watch.seconds() / 0x1p30;
}

double write_and_rename_us(const fs::path& directory, std::size_t bytes, bool direct)
{
    static const object_pool source{1, std::size_t{1} << 20};
    const auto before = directory / "raw.tmp";
    const auto after = directory / "raw";
    fs::create_directories(directory);
    const stopwatch watch;
    {
        const open_file file{before, O_WRONLY | O_CREAT | O_EXCL | (direct ? O_DIRECT : 0)};
        file.write(source.object(0).first(bytes), 0);
    }
    fs::rename(before, after);
    const auto seconds = watch.seconds();
    fs::remove(after);
    return seconds * 1e6;
}

} // namespace terrace::bench
