#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <memory>
#include <string>

#include <terrace/text_options.hpp>

#include "commands.hpp"
#include "inspect/inspection.hpp"
#include "replay/text.hpp"

namespace terrace::apps {
namespace {

struct arguments {
    std::string path;
    bool list = false;
};

int run_inspect(const arguments& args)
{
    const auto summary = inspect(args.path, [&](const inspected_object& object) {
        if (args.list || (!object.problem.empty() && !object.being_written))
            fmt::print("{}\n", to_line(object));
    });
    fmt::print("{}: {} store, {} objects, {} of payload, {} damaged\n", args.path, summary.store,
               replay::grouped(summary.objects), format_bytes(summary.payload_bytes),
               replay::grouped(summary.damaged_objects));
    return summary.damaged_objects == 0 ? exit_ok : exit_failed;
}

} // namespace

void add_inspect(CLI::App& app, command& chosen)
{
    auto args = std::make_shared<arguments>();
    auto* sub =
        app.add_subcommand("inspect", "Verify what an adapter has stored in a directory or on a device, and list it\n"
                                      "It reads every byte, writes nothing, and may look at a store in use. The "
                                      "exit status is 1 if anything is damaged or cannot be read.");
    sub->add_option("path", args->path, "the adapter's directory, one file in it, or its device")
        ->required()
        ->type_name("PATH");
    sub->add_flag("--list", args->list,
                  "a line for each object, not only for damaged ones: key, size, layout, place; and for "
                  "what is being written")
        ->group("What is shown");
    sub->footer("# is all that is stored as it was?\n"
                "terrace inspect /var/cache/terrace\n"
                "# which objects are there?\n"
                "terrace inspect --list /var/cache/terrace");
    sub->callback([args, &chosen] { chosen = [args] { return run_inspect(*args); }; });
}

} // namespace terrace::apps
