#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <iostream>
#include <memory>
#include <string>

#include "commands.hpp"
#include "replay/output_file.hpp"
#include "replay/text.hpp"
#include "replay/trace_generator.hpp"

namespace terrace::apps {
namespace {

struct arguments {
    std::string out = "-";
    replay::conversation_parameters parameters;
};

int run_generate(const arguments& args)
{
    const auto requests = replay::generate_trace(args.parameters);
    if (args.out == "-") {
        write_trace(std::cout, requests); // main() sees whether that could be written
        return exit_ok;
    }
    replay::output_file file{args.out};
    write_trace(file.stream(), requests);
    file.commit();
    return exit_ok;
}

} // namespace

void add_generate(CLI::App& app, command& chosen)
{
    auto args = std::make_shared<arguments>();
    auto* sub =
        app.add_subcommand("generate", "Make a trace of multi-turn conversations, for replay\n"
                                       "A conversation starts with one of a few system prompts; each turn's prompt "
                                       "is the whole conversation so far and what the user says next. The same "
                                       "options and seed make the same trace on every machine.");
    sub->add_option("--out", args->out, "where to; - is standard output")
        ->type_name("FILE")
        ->group("The trace")
        ->capture_default_str();

    std::string group = "The trace";
    auto count = [&](const char* name, std::uint64_t& target, std::uint64_t least, const char* help) {
        sub->add_option_function<std::string>(
               name,
               [&target, name, least](const std::string& text) { target = replay::parse_count(name, text, least); },
               help)
            ->type_name("N")
            ->group(group)
            ->default_str(fmt::to_string(target));
    };
    auto number = [&](const char* name, double& target, const char* help) {
        sub->add_option_function<std::string>(
               name, [&target, name](const std::string& text) { target = replay::parse_positive(name, text); }, help)
            ->type_name("X")
            ->group(group)
            ->default_str(fmt::to_string(target));
    };
    auto& p = args->parameters; // lives as long as the callback below, which holds args
    count("--seed", p.seed, 0, "another seed, another trace");
    count("--conversations", p.conversations, 1, "how many conversations");
    number("--turns", p.turns_mean, "mean requests of a conversation");
    group = "Prompts and answers";
    count("--system-prompts", p.system_prompts, 1, "each conversation starts with one of so many");
    count("--system-tokens", p.system_tokens, 0, "length of each system prompt");
    count("--user-tokens", p.user_tokens_mean, 1, "mean tokens that each turn adds");
    count("--output-tokens", p.output_tokens_mean, 1, "mean tokens of an answer");
    count("--max-input-tokens", p.max_input_tokens, 1, "a conversation ends before its prompt passes this");
    group = "Time";
    number("--arrivals", p.arrivals_per_second, "mean conversations that start in a second");
    number("--think-seconds", p.think_seconds_mean, "mean seconds from one turn's request to the next one's");
    sub->footer("# 200 conversations\n"
                "terrace generate --out trace.jsonl\n"
                "# a thousand short ones that all start alike, and come quickly\n"
                "terrace generate --conversations 1000 --turns 2 --system-prompts 1 \\\n"
                "    --arrivals 50 --out trace.jsonl");
    sub->callback([args, &chosen] { chosen = [args] { return run_generate(*args); }; });
}

} // namespace terrace::apps
