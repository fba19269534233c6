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

#include <terrace/text_options.hpp>

#include "adapter_registry.hpp"
#include "commands.hpp"
#include "replay/output_file.hpp"
#include "replay/progress_bar.hpp"
#include "replay/replayer.hpp"
#include "replay/report.hpp"
#include "replay/text.hpp"
#include "replay/trace.hpp"

namespace terrace::apps {
namespace {

/// The command line as text; each value is checked where it is used, by the parser that knows what it means.
struct arguments {
    std::string trace;
    std::string requests;
    std::string l1 = "256MiB";
    std::vector<std::string> l2;
    std::string object_bytes = "64KiB";
    std::string concurrency = "1";
    std::string pace = "asap";
    std::string prefill_rate = "10000";
    std::string prefetch_policy = "default";
    std::string store_policy = "default";
    std::string eviction = "lru";
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

config engine_config(const arguments& args, std::uint64_t object_bytes)
{
    config engine;
    engine.l1.capacity_bytes = parse_option("--l1", args.l1, parse_bytes);
    // Objects below a page are packed; all others start at one, as direct I/O wants it.
    constexpr std::uint64_t page_bytes = 4096;
    engine.l1.alignment_bytes =
        static_cast<std::uint32_t>(std::bit_ceil(std::clamp<std::uint64_t>(object_bytes, 64, page_bytes)));
    engine.l1.prefault = args.prefault ? prefault_mode::at_start : prefault_mode::on_demand;
    engine.prefetch = parse_option("--prefetch-policy", args.prefetch_policy, prefetch_policy::make);
    engine.store = parse_option("--store-policy", args.store_policy, store_policy::make);
    (void)parse_option("--eviction", args.eviction,
                       [](const std::string& name) { return eviction_policy::make(name); });
    engine.eviction.policy = args.eviction;
    return engine;
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

std::string headline(const arguments& args, const replay::replay_options& options, std::size_t requests)
{
    std::string tiers = fmt::format("L1 {}", args.l1);
    for (const auto& spec : args.l2)
        tiers += fmt::format(" over {}", spec);
    return fmt::format("{}: {} requests, {} an object, {}; {} at a time, {}{}", args.trace, replay::grouped(requests),
                       format_bytes(options.object_bytes), tiers, options.concurrency, options.pace.to_string(),
                       args.verify ? ", every byte verified" : "");
}

int run_replay(const arguments& args)
{
    auto options = replay_options(args);
    auto engine = engine_config(args, options.object_bytes);
    const auto most = args.requests.empty() ? replay::all_requests : replay::parse_count("--requests", args.requests);
    const auto requests = replay::read_trace(std::filesystem::path{args.trace}, most);

    replay::progress_bar bar;
    if (!args.no_progress)
        options.on_progress = [&bar](const replay::replay_progress& progress) { bar.show(progress); };
    replay::replayer replayer{requests, std::move(engine), options};
    for (const auto& spec : args.l2)
        replayer.add_adapter(make_adapter(spec));
    std::optional<replay::output_file> json;
    if (!args.json.empty())
        json.emplace(args.json);

    const auto outcome = replayer.run();
    bar.clear();

    fmt::print("{}\n", headline(args, options, requests.size()));
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
    auto* sub = app.add_subcommand("replay", "Replay a request trace: prefetch each request's blocks, read the hits, "
                                             "write the missing ones");
    sub->add_option("--trace", args->trace, "JSON lines with timestamp, input_length, output_length, hash_ids")
        ->required()
        ->type_name("FILE");
    sub->add_option("--requests", args->requests, "replay the first N only")->type_name("N");
    sub->add_option("--l1", args->l1, "capacity of the memory tier")->type_name("SIZE")->capture_default_str();
    sub->add_option("--l2", args->l2,
                    fmt::format("an adapter below it, as memory: or file:/dir?capacity=20GiB; more than once for more "
                                "than one; none: L1 alone. Types: {}",
                                adapter_types()))
        ->type_name("SPEC")
        ->allow_extra_args(false);
    sub->add_option("--object-bytes", args->object_bytes, "size of one block's object")
        ->type_name("SIZE")
        ->capture_default_str();
    sub->add_option("--concurrency", args->concurrency, "requests at a time")->type_name("N")->capture_default_str();
    sub->add_option("--pace", args->pace, "asap, real (at the timestamps), or a factor of real")
        ->type_name("PACE")
        ->capture_default_str();
    sub->add_option("--prefill-rate", args->prefill_rate,
                    "tokens/s that the model computes, for the time to first token")
        ->type_name("TOKENS_PER_S")
        ->capture_default_str();
    sub->add_option("--prefetch-policy", args->prefetch_policy, "default or retain (keep in L1 what was loaded)")
        ->type_name("NAME")
        ->capture_default_str();
    sub->add_option("--store-policy", args->store_policy,
                    "default, skip_l1 (drop from L1 what was stored), second_touch, write_budget or "
                    "tiered (to the first adapter, and onward what that evicts)")
        ->type_name("POLICY")
        ->capture_default_str();
    sub->add_option("--eviction", args->eviction, "what leaves L1 first: lru, s3fifo, isolated_lru or none")
        ->type_name("NAME")
        ->capture_default_str();
    sub->add_flag("--verify", args->verify, "derive each object's bytes from its key, and check all that is read back");
    sub->add_flag("--prefault", args->prefault, "touch all of L1 before the first request");
    sub->add_option("--json", args->json, "write the outcome here as well")->type_name("FILE");
    sub->add_flag("--no-progress", args->no_progress, "show no progress bar");
    sub->callback([args, &chosen] { chosen = [args] { return run_replay(*args); }; });
}

} // namespace terrace::apps
