#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fmt/format.h>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <unistd.h>
#include <vector>

#include "bench/machine.hpp"
#include "bench/report.hpp"
#include "bench/runner.hpp"
#include "bench/workload.hpp"
#include "commands.hpp"
#include "replay/output_file.hpp"
#include "replay/text.hpp"

namespace terrace::apps {
namespace {

namespace fs = std::filesystem;

struct arguments {
    std::string directory;
    std::string tmpfs = "/dev/shm";
    std::string trace;
    std::string most;
    std::string runs;
    std::string json;
    std::string html;
    bool quick = false;
};

/// A directory of its own below another one, which goes with all that is in it.
class scratch_directory {
public:
    explicit scratch_directory(const fs::path& parent)
        : path_{fs::absolute(parent) / fmt::format("terrace-bench-{}", ::getpid())}
    {
        fs::create_directories(path_);
    }
    scratch_directory(const scratch_directory&) = delete;
    scratch_directory& operator=(const scratch_directory&) = delete;
    ~scratch_directory()
    {
        std::error_code ignored;
        fs::remove_all(path_, ignored);
    }

    [[nodiscard]] const fs::path& path() const noexcept { return path_; }

private:
    fs::path path_;
};

void write_file(std::optional<replay::output_file>& file, const std::string& text)
{
    if (!file)
        return;
    file->stream() << text << '\n';
    file->commit();
}

int run_bench(const arguments& args, const std::vector<bench::benchmark>& chosen)
{
    bench::bench_options options;
    options.quick = args.quick;
    options.runs = args.quick ? 2 : 5;
    if (!args.runs.empty())
        options.runs = replay::parse_count("--runs", args.runs, 1, 1'000);
    if (!args.most.empty())
        options.most = replay::parse_count("--most", args.most, 1);
    options.trace = args.trace;
    const scratch_directory on_disk{args.directory.empty() ? fs::current_path() : fs::path{args.directory}};
    options.directory = on_disk.path();
    std::optional<scratch_directory> in_memory;
    if (!args.tmpfs.empty() && fs::is_directory(args.tmpfs)) {
        in_memory.emplace(args.tmpfs);
        options.tmpfs = in_memory->path();
    }
    std::optional<replay::output_file> json;
    if (!args.json.empty())
        json.emplace(args.json);
    std::optional<replay::output_file> html;
    if (!args.html.empty())
        html.emplace(args.html);

    const auto machine = bench::describe_machine();
    for (const auto& [name, value] : machine)
        fmt::print("{:<12}{}\n", name, value);
    std::vector<bench::row> all;
    for (const auto& benchmark : chosen) {
        fmt::print("\n{}: {}\n", benchmark.name, benchmark.help);
        std::fflush(stdout);
        const bool show = ::isatty(STDERR_FILENO) != 0;
        std::size_t done = 0;
        const auto rows =
            bench::measure_all(benchmark.make(options), options.runs, [&](const std::vector<bench::row>& some) {
                if (show)
                    fmt::print(stderr, "\r\x1b[K{} rows: {} {}", done += some.size(), some.front().name,
                               some.front().parameters_text());
            });
        if (show)
            fmt::print(stderr, "\r\x1b[K");
        fmt::print("{}", bench::to_table(rows));
        std::fflush(stdout);
        all.insert(all.end(), rows.begin(), rows.end());
    }
    if (json)
        write_file(json, bench::to_json(machine, all).dump(2));
    return exit_ok;
}

} // namespace

void add_bench(CLI::App& app, command& chosen)
{
    auto args = std::make_shared<arguments>();
    auto* parent = app.add_subcommand("bench", "Measure the engine beside what bounds it: memory, disks, threads");
    parent->require_subcommand(1);
    parent->fallthrough();
    parent->add_option("--directory", args->directory, "where files on a disk go; none: the current directory")
        ->type_name("DIR");
    parent->add_option("--tmpfs", args->tmpfs, "where files in memory go; left out if it is not there")
        ->type_name("DIR")
        ->capture_default_str();
    parent->add_option("--trace", args->trace, "what to replay; none: conversations that are made up")
        ->type_name("FILE");
    parent->add_option("--most", args->most, "resident objects of the scale rows; none: 10^7, or what memory holds")
        ->type_name("N");
    parent->add_option("--runs", args->runs, "of each row, after one to warm up; none: 5")->type_name("N");
    parent->add_option("--json", args->json, "write the rows here as well")->type_name("FILE");
    parent->add_option("--html", args->html, "write a page with plots and the rows here")->type_name("FILE");
    parent->add_flag("--quick", args->quick, "a smoke test of a few seconds: the figures mean nothing");

    auto add = [&](const std::string& name, const std::string& help, std::vector<bench::benchmark> which) {
        auto* sub = parent->add_subcommand(name, help);
        sub->fallthrough();
        sub->callback([args, which, &chosen] { chosen = [args, which] { return run_bench(*args, which); }; });
    };
    for (const auto& benchmark : bench::benchmarks())
        add(std::string{benchmark.name}, std::string{benchmark.help}, {benchmark});
    add("all", "all of them, in less than ten minutes", bench::benchmarks());
}

} // namespace terrace::apps
