#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstdio>
#include <exception>
#include <fmt/format.h>
#include <stdexcept>
#include <string>
#include <system_error>

#include <terrace/configuration.hpp>

#include "commands.hpp"
#include "replay/trace.hpp"

namespace {

using namespace terrace::apps;

int complain(const std::exception& e, exit_status status)
{
    fmt::print(stderr, "terrace: {}\n", e.what());
    return status;
}

/// "terrace bench", as far as the command line names commands.
std::string as_typed(const CLI::App& app)
{
    const auto named = app.get_subcommands();
    return app.get_name() + (named.empty() ? "" : ' ' + as_typed(*named.front()));
}

int run(int argc, char** argv)
{
    CLI::App app{"", "terrace"};
    command chosen;
    add_commands(app, chosen);
    if (argc == 1) {
        fmt::print(stderr, "{}", app.help());
        return exit_usage;
    }
    try {
        app.parse(argc, argv);
        return chosen();
    } catch (const CLI::Success& e) { // --help, --version
        return app.exit(e);
    } catch (const CLI::ParseError& e) {
        fmt::print(stderr, "terrace: {}\n`{} --help` says what there is\n", e.what(), as_typed(app));
        return exit_usage;
    } catch (const terrace::configuration_error& e) {
        for (const std::string& problem : e.problems())
            fmt::print(stderr, "terrace: {}\n", problem);
        return exit_usage;
    } catch (const std::invalid_argument& e) {
        return complain(e, exit_usage);
    } catch (const terrace::replay::trace_error& e) {
        return complain(e, exit_usage);
    } catch (const std::exception& e) {
        return complain(e, exit_failed);
    }
}

} // namespace

int main(int argc, char** argv)
{
    const int status = run(argc, argv);
    errno = 0;
    if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0)
        return status;
    // Whatever it was printed by. Of a write that failed before, the reason is not known any more.
    fmt::print(stderr, "terrace: standard output cannot be written{}\n",
               errno != 0 ? fmt::format(": {}", std::generic_category().message(errno)) : "");
    return status == exit_ok ? exit_failed : status;
}
