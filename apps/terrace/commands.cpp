#include "commands.hpp"

#include <CLI/CLI.hpp>
#include <memory>
#include <string>

#include <terrace/version.hpp>

#include "help/command_help.hpp"

namespace terrace::apps {
namespace {

class help_formatter final : public CLI::Formatter {
public:
    std::string make_help(const CLI::App* app, std::string /*name*/, CLI::AppFormatMode /*mode*/) const override
    {
        return to_text(describe(*app));
    }
};

} // namespace

void add_commands(CLI::App& app, command& chosen)
{
    app.description(
        "Terrace: a tiered KV-cache storage engine for LLM inference\n"
        "It keeps the attention keys and values of past prompts in memory, above files and other stores, and "
        "brings the longest usable prefix of a prompt back before the model needs it. This program replays "
        "request traces against the engine, measures it, and verifies what it has stored.");
    app.footer("# make a trace of conversations, and replay it over memory and files\n"
               "terrace generate --out trace.jsonl\n"
               "terrace replay --trace trace.jsonl --l2 file:/tmp/objects --verify\n"
               "# look at what that has stored\n"
               "terrace inspect /tmp/objects\n"
               "# see what the memory tier does on this machine\n"
               "terrace bench l1 --quick");
    app.formatter(std::make_shared<help_formatter>()); // those of the commands are made after it
    app.set_help_flag("-h,--help", "print this help and exit");
    app.set_version_flag("--version", "terrace " TERRACE_VERSION, "print the version and exit");
    app.require_subcommand(1);
    add_replay(app, chosen);
    add_generate(app, chosen);
    add_inspect(app, chosen);
    add_config(app, chosen);
    add_bench(app, chosen);
    add_completion(app, chosen);
    add_man(app, chosen);
}

} // namespace terrace::apps
