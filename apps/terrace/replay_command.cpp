#include <CLI/CLI.hpp>
#include <algorithm>
#include <bit>
#include <cstdio>
#include <fmt/format.h>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include <terrace/adapter_registry.hpp>
#include <terrace/configuration.hpp>
#include <terrace/text_options.hpp>

#include "commands.hpp"
#include "replay/output_file.hpp"
#include "replay/progress_bar.hpp"
#include "replay/replayer.hpp"
#include "replay/report.hpp"
#include "replay/text.hpp"
#include "replay/trace.hpp"
#include "settings.hpp"

namespace terrace::apps {
namespace {

/// The command line as text; each value is checked where it is used, by the parser that knows what it means.
struct arguments {
    std::string trace;
    std::string requests;
    setting_arguments settings;
    std::optional<std::string> l1;
    std::vector<std::string> l2;
    std::string object_bytes = "64KiB";
    std::string concurrency = "1";
    std::string pace = "asap";
    std::string prefill_rate = "10000";
    std::optional<std::string> prefetch_policy;
    std::optional<std::string> store_policy;
    std::optional<std::string> eviction;
    std::optional<std::string> log;
    std::string json;
    bool verify = false;
    bool prefault = false;
    bool no_progress = false;
};

/// Calls a parser, and puts the option's name before what it complains about.
template <class Parser>
auto parse_option(std::string_view option, const std::string& text, Parser parse)
{
    try {
        return parse(text);
    } catch (const std::invalid_argument& e) {
        throw std::invalid_argument(fmt::format("{}: {}", option, e.what()));
    }
}

/// What a replay has in place of the engine's defaults.
configuration replay_defaults(std::uint64_t object_bytes)
{
    configuration defaults;
    defaults.engine.l1.capacity_bytes = std::uint64_t{256} << 20;
    // Objects below a page are packed; all others start at one, as direct I/O wants it.
    constexpr std::uint64_t page_bytes = 4096;
    defaults.engine.l1.alignment_bytes =
        static_cast<std::uint32_t>(std::bit_ceil(std::clamp<std::uint64_t>(object_bytes, 64, page_bytes)));
    return defaults;
}

configuration replay_configuration(const arguments& args, std::uint64_t object_bytes)
{
    std::vector<configuration_flag> flags;
    const auto add = [&](const char* flag, const char* key, const std::optional<std::string>& value) {
        if (value)
            flags.push_back({flag, key, *value});
    };
    add("--l1", "l1.capacity", args.l1);
    add("--prefetch-policy", "prefetch.policy", args.prefetch_policy);
    add("--store-policy", "store.policy", args.store_policy);
    add("--eviction", "eviction.policy", args.eviction);
    add("--log", "log.level", args.log);
    if (args.prefault)
        add("--prefault", "l1.prefault", "at_start");
    for (const std::string& spec : args.l2)
        add("--l2", "adapters", spec);
    return read_settings(args.settings, std::move(flags), replay_defaults(object_bytes));
}

/// As the configuration says, without a line of it in the middle of the progress bar.
log_function replay_log(const configuration& from, replay::progress_bar& bar)
{
    if (!from.log_level)
        return nullptr;
    return [&bar, least = *from.log_level, write = from.log()](const log_record& record) {
        if (record.level >= least)
            bar.clear();
        write(record);
    };
}

replay::replay_options replay_options(const arguments& args)
{
    replay::replay_options options;
    options.object_bytes = parse_option("--object-bytes", args.object_bytes, parse_bytes);
    options.concurrency = replay::parse_count("--concurrency", args.concurrency, 1, 65'536);
    options.pace = replay::pace::parse(args.pace);
    options.prefill_tokens_per_second = replay::parse_positive("--prefill-rate", args.prefill_rate);
    options.verify = args.verify ? replay::verification::every_byte : replay::verification::none;
    return options;
}

int exit_status_of(const replay::replay_outcome& outcome)
{
    if (outcome.signal != 0)
        return exit_signal + outcome.signal;
    return outcome.clean() ? exit_ok : exit_failed;
}

std::string headline(const arguments& args, const configuration& from, const replay::replay_options& options,
                     std::size_t requests)
{
    std::string tiers = fmt::format("L1 {}", format_bytes(from.engine.l1.capacity_bytes));
    for (const auto& adapter : from.adapters)
        tiers += fmt::format(" over {}", adapter.spec);
    return fmt::format("{}: {} requests, {} an object, {}; {} at a time, {}{}", args.trace, replay::grouped(requests),
                       format_bytes(options.object_bytes), tiers, options.concurrency, options.pace.to_string(),
                       args.verify ? ", every byte verified" : "");
}

int run_replay(const arguments& args)
{
    auto options = replay_options(args);
    auto from = replay_configuration(args, options.object_bytes);
    const auto most = args.requests.empty() ? replay::all_requests : replay::parse_count("--requests", args.requests);
    const auto requests = replay::read_trace(std::filesystem::path{args.trace}, most);

    replay::progress_bar bar;
    if (!args.no_progress)
        options.on_progress = [&bar](const replay::replay_progress& progress) { bar.show(progress); };
    from.engine.log = replay_log(from, bar);
    replay::replayer replayer{requests, from.engine, options};
    for (const auto& adapter : from.adapters)
        replayer.add_adapter(make_adapter(adapter.spec), adapter.options);
    std::optional<replay::output_file> json;
    if (!args.json.empty())
        json.emplace(args.json);

    const auto outcome = replayer.run();
    bar.clear();

    fmt::print("{}\n", headline(args, from, options, requests.size()));
    fmt::print("{}", to_table(outcome, options.prefill_tokens_per_second));
    std::fflush(stdout);
    if (json) {
        json->stream() << to_json(outcome).dump(2) << '\n';
        json->commit();
    }
    for (const auto& problem : outcome.problems)
        fmt::print(stderr, "terrace: {}\n", problem);
    if (outcome.signal != 0)
        fmt::print(stderr, "terrace: stopped by signal {} after {} of {} requests\n", outcome.signal, outcome.requests,
                   requests.size());
    return exit_status_of(outcome);
}

} // namespace

void add_replay(CLI::App& app, command& chosen)
{
    auto args = std::make_shared<arguments>();
    auto* sub =
        app.add_subcommand("replay", "Replay a request trace against the engine, and say what the cache was worth\n"
                                     "For each request it prefetches the blocks, reads the hits, and writes the "
                                     "missing ones. Then it reports hits by tier, latencies, throughput, and how "
                                     "much sooner the first token came. Traces are JSON lines with timestamp, "
                                     "input_length, output_length and hash_ids.");
    const std::string what_group = "What is replayed";
    const std::string engine_group = "The engine";
    const std::string report_group = "What is checked and reported";
    sub->add_option("--trace", args->trace, "the trace")->required()->type_name("FILE")->group(what_group);
    sub->add_option("--requests", args->requests, "replay the first N only")->type_name("N")->group(what_group);
    sub->add_option("--object-bytes", args->object_bytes, "size of one block's object")
        ->type_name("SIZE")
        ->capture_default_str()
        ->group(what_group);
    sub->add_option("--concurrency", args->concurrency, "requests at a time")
        ->type_name("N")
        ->capture_default_str()
        ->group(what_group);
    sub->add_option("--pace", args->pace, "as soon as possible, at the timestamps, or at a multiple of that speed")
        ->type_name("asap|real|X")
        ->capture_default_str()
        ->group(what_group);
    add_setting_options(*sub, args->settings, engine_group);
    sub->add_option("--l1", args->l1, "capacity of the memory tier: l1.capacity")
        ->type_name("SIZE")
        ->default_str("256MiB")
        ->group(engine_group);
    sub->add_option("--l2", args->l2,
                    fmt::format("an adapter below it, as memory: or file:/dir?capacity=20GiB, in place of those that "
                                "are configured; none: L1 alone. Types: {}",
                                adapter_types()))
        ->type_name("SPEC")
        ->allow_extra_args(false)
        ->group(engine_group);
    sub->add_option("--prefetch-policy", args->prefetch_policy,
                    "what becomes of what was loaded, which retain keeps in L1: prefetch.policy")
        ->type_name("default|retain")
        ->group(engine_group);
    sub->add_option("--store-policy", args->store_policy,
                    "default, skip_l1 (drop from L1 what was stored), second_touch, write_budget or "
                    "tiered (to the first adapter, and onward what that evicts): store.policy")
        ->type_name("POLICY")
        ->group(engine_group);
    sub->add_option("--eviction", args->eviction, "what leaves L1 first: eviction.policy")
        ->type_name("lru|s3fifo|isolated_lru|none")
        ->group(engine_group);
    sub->add_flag("--prefault", args->prefault, "touch all of L1 before the first request")->group(engine_group);
    sub->add_flag("--verify", args->verify, "derive each object's bytes from its key, and check all that is read back")
        ->group(report_group);
    sub->add_option("--prefill-rate", args->prefill_rate,
                    "tokens/s that the model computes, for the time to first token")
        ->type_name("TOKENS_PER_S")
        ->capture_default_str()
        ->group(report_group);
    sub->add_option("--log", args->log, "say on standard error when things go wrong, this and what is worse: log.level")
        ->type_name("off|debug|info|warning|error")
        ->default_str("warning")
        ->group(report_group);
    sub->add_option("--json", args->json, "write the outcome here as well")->type_name("FILE")->group(report_group);
    sub->add_flag("--no-progress", args->no_progress, "show no progress bar")->group(report_group);
    sub->footer("# over 1 GiB of memory and at most 20 GiB of files, every byte verified\n"
                "terrace replay --trace trace.jsonl --l1 1GiB --verify \\\n"
                "    --l2 'file:/var/cache/terrace?capacity=20GiB'\n"
                "# 16 requests at a time, ten times as fast as they came, the outcome as JSON\n"
                "terrace replay --trace trace.jsonl --l2 memory: --pace 10 --concurrency 16 \\\n"
                "    --json outcome.json");
    sub->callback([args, &chosen] { chosen = [args] { return run_replay(*args); }; });
}

} // namespace terrace::apps
