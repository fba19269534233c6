#include <CLI/CLI.hpp>
#include <cctype>
#include <cerrno>
#include <chrono>
#include <csignal>
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
#include "bench/measure.hpp"
#include "bench/report.hpp"
#include "bench/runner.hpp"
#include "bench/scratch_directory.hpp"
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

void write_file(replay::output_file& file, const std::string& text)
{
    file.stream() << text << '\n';
    file.commit();
}

/// What has come of the signals that end a measurement.
volatile std::sig_atomic_t caught_signal = 0;

/// A signal has ended the measurement.
struct interrupted {
    int signal;
};

/// While it lives, the first SIGINT, SIGTERM or SIGHUP lets the run in progress end and what it has on disks be
/// removed; a second one ends the process. A reader of the output that goes is a write that fails, and no SIGPIPE.
class polite_signals {
public:
    polite_signals()
    {
        set(&remember);
        std::signal(SIGPIPE, SIG_IGN);
    }
    polite_signals(const polite_signals&) = delete;
    polite_signals& operator=(const polite_signals&) = delete;
    ~polite_signals()
    {
        set(SIG_DFL);
        std::signal(SIGPIPE, SIG_DFL);
    }

    static void check()
    {
        if (caught_signal != 0)
            throw interrupted{caught_signal};
    }

private:
    static void remember(int signal)
    {
        caught_signal = signal;
        std::signal(signal, SIG_DFL);
    }
    static void set(void (*handler)(int))
    {
        for (const int signal : {SIGINT, SIGTERM, SIGHUP})
            std::signal(signal, handler);
    }
};

bench::bench_options bench_options(const arguments& args)
{
    bench::bench_options options;
    options.quick = args.quick;
    options.runs = args.quick ? 2 : 5;
    if (!args.runs.empty())
        options.runs = replay::parse_count("--runs", args.runs, 1, 1'000);
    if (!args.most.empty())
        options.most = replay::parse_count("--most", args.most, 1);
    options.trace = args.trace;
    return options;
}

/// Prints what has been said so far. Throws if nobody reads it any more.
void flush_output()
{
    if (std::fflush(stdout) != 0)
        throw std::system_error(errno, std::generic_category(), "standard output");
}

/// Runs one benchmark and prints what it found.
std::vector<bench::row> run_one(const bench::benchmark& benchmark, const bench::bench_options& options)
{
    fmt::print("\n{}: {}\n", benchmark.name, benchmark.help);
    flush_output();
    const auto started = bench::steady::now();
    const bool show = ::isatty(STDERR_FILENO) != 0;
    std::size_t done = 0;
    bench::run_hooks hooks;
    hooks.before_run = &polite_signals::check;
    hooks.on_rows = [&](const std::vector<bench::row>& some) {
        done += some.size();
        if (show)
            fmt::print(stderr, "\r\x1b[K{} rows: {}, {}", done, some.front().name, some.front().parameters_text());
    };
    auto rows = bench::measure_all(benchmark.make(options), options.runs, hooks);
    if (show)
        fmt::print(stderr, "\r\x1b[K");
    fmt::print("{}  {:.0f} s\n", bench::to_table(rows),
               std::chrono::duration<double>(bench::steady::now() - started).count());
    flush_output();
    return rows;
}

/// As the sentence that a help text begins with.
std::string capitalised(std::string_view text)
{
    std::string sentence{text};
    sentence.front() = static_cast<char>(std::toupper(static_cast<unsigned char>(sentence.front())));
    return sentence;
}

int run_bench(const arguments& args, const std::vector<bench::benchmark>& chosen)
{
    auto options = bench_options(args);
    std::optional<replay::output_file> json;
    if (!args.json.empty())
        json.emplace(args.json);
    std::optional<replay::output_file> html;
    if (!args.html.empty())
        html.emplace(args.html);
    const polite_signals signals; // before there is anything to remove
    const bench::scratch_directory on_disk{args.directory.empty() ? fs::current_path() : fs::path{args.directory}};
    options.directory = on_disk.path();
    std::optional<bench::scratch_directory> in_memory;
    if (!args.tmpfs.empty() && fs::is_directory(args.tmpfs)) {
        in_memory.emplace(args.tmpfs);
        options.tmpfs = in_memory->path();
    }

    bench::keep_freed_memory();
    const auto machine = bench::describe_machine();
    for (const auto& [name, value] : machine)
        fmt::print("{:<12}{}\n", name, value);
    std::vector<bench::row> all;
    try {
        for (const auto& benchmark : chosen)
            for (auto& row : run_one(benchmark, options))
                all.push_back(std::move(row));
    } catch (const interrupted& by) {
        fmt::print(stderr, "terrace: stopped by signal {} after {} rows\n", by.signal, all.size());
        return exit_signal + by.signal;
    }
    if (json)
        write_file(*json, bench::to_json(machine, all).dump(2));
    if (html)
        write_file(*html, bench::to_html(machine, all));
    return exit_ok;
}

} // namespace

void add_bench(CLI::App& app, command& chosen)
{
    auto args = std::make_shared<arguments>();
    auto* parent = app.add_subcommand("bench", "Measure the engine beside what bounds it: memory, disks, threads\n"
                                               "Each row is measured several times after one to warm up; the table has "
                                               "medians and spread, and how far they are from the ceiling.");
    parent->require_subcommand(1);
    parent->fallthrough();
    const std::string where_group = "Where it measures";
    const std::string what_group = "What it measures";
    const std::string report_group = "What it writes";
    parent->add_option("--directory", args->directory, "where files on a disk go; none: the current directory")
        ->type_name("DIR")
        ->group(where_group);
    parent->add_option("--tmpfs", args->tmpfs, "where files in memory go; left out if it is not there")
        ->type_name("DIR")
        ->capture_default_str()
        ->group(where_group);
    parent->add_option("--trace", args->trace, "what to replay; none: conversations that are made up")
        ->type_name("FILE")
        ->group(what_group);
    parent->add_option("--most", args->most, "resident objects of the scale rows; none: 10^7, or what memory holds")
        ->type_name("N")
        ->group(what_group);
    parent->add_option("--runs", args->runs, "of each row, after one to warm up; none: 5")
        ->type_name("N")
        ->group(what_group);
    parent->add_option("--json", args->json, "write the rows here as well")->type_name("FILE")->group(report_group);
    parent->add_option("--html", args->html, "write a page with plots and the rows here")
        ->type_name("FILE")
        ->group(report_group);
    parent->add_flag("--quick", args->quick, "a smoke test of a few seconds: the figures mean nothing")
        ->group(what_group);

    auto add = [&](const std::string& name, const std::string& help, std::vector<bench::benchmark> which) {
        auto* sub = parent->add_subcommand(name, help);
        sub->fallthrough();
        sub->callback([args, which, &chosen] { chosen = [args, which] { return run_bench(*args, which); }; });
    };
    for (const auto& benchmark : bench::benchmarks())
        add(std::string{benchmark.name}, capitalised(benchmark.help), {benchmark});
    parent->footer("# a look at everything, in some seconds\n"
                   "terrace bench all --quick\n"
                   "# the adapters on the disk that /data is on, as a page with plots\n"
                   "terrace bench adapter --directory /data --html bench.html");
    add("all", "All of them, in less than ten minutes", bench::benchmarks());
}

} // namespace terrace::apps
