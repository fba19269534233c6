#include <CLI/CLI.hpp>
#include <algorithm>
#include <doctest/doctest.h>
#include <fmt/format.h>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "commands.hpp"
#include "help/command_help.hpp"

using namespace terrace::apps;

namespace {

/// The program's own command line.
struct program {
    program() { add_commands(app, chosen); }

    CLI::App app{"", "terrace"};
    command chosen;
};

/// A command line with one of everything.
struct sample {
    sample()
    {
        app.add_option("place", place, "where it goes")->required()->type_name("PATH");
        app.add_option("-s,--speed", speed, "how fast")->type_name("slow|fast|N")->group("How")->default_str("slow");
        app.add_option("--out", out, "where the rest goes")->type_name("FILE")->required();
        app.add_flag("--secret", secret, "nobody's business")->group("");
        auto* part = app.add_subcommand("part", "Do a part\nIt takes its time.");
        part->footer("# all of it\nsample part --speed fast");
        part->fallthrough();
        app.add_subcommand("hidden", "Not for you")->group("");
    }

    CLI::App app{"Do something", "sample"};
    std::string place, speed, out;
    bool secret = false;
};

std::vector<std::string> lines(const std::string& text)
{
    std::vector<std::string> all;
    std::istringstream in{text};
    for (std::string line; std::getline(in, line);)
        all.push_back(line);
    return all;
}

/// The same with lines that end in a backslash and the next ones made one.
std::vector<std::string> joined_lines(std::string text)
{
    for (auto at = text.find("\\\n"); at != std::string::npos; at = text.find("\\\n"))
        text.replace(at, 2, " ");
    return lines(text);
}

/// The words of a command line without quotes, up to what is the shell's.
std::vector<std::string> words(const std::string& line)
{
    std::vector<std::string> all;
    std::istringstream in{line};
    for (std::string word; in >> word && word != "|" && word != ">";) {
        std::erase(word, '\'');
        all.push_back(word);
    }
    return all;
}

} // namespace

TEST_CASE("help: it answers the first question about every command")
{
    const program p;
    const auto help = describe(p.app);
    for (const auto* command : help.all()) {
        CAPTURE(command->name);
        CHECK_FALSE(command->summary.empty());
        CHECK_FALSE(command->summary.ends_with('.'));
        CHECK(command->summary.size() <= 100);
        CHECK((command->has_page() ? !command->examples.empty() : true));
        for (const auto& option : command->options) {
            CAPTURE(option.names);
            CHECK_FALSE(option.description.empty());
            CHECK(option.group != "Options"); // every option has found its heading
        }
    }
}

TEST_CASE("help: every example is a command line that is accepted")
{
    const program documented;
    const auto help = describe(documented.app);
    for (const auto* command : help.all())
        for (const auto& line : joined_lines(command->examples)) {
            CAPTURE(line);
            auto arguments = words(line);
            if (line.starts_with('#') || line.starts_with("source "))
                continue;
            REQUIRE(arguments.front() == "terrace");
            program p;
            arguments.erase(arguments.begin());
            std::ranges::reverse(arguments); // as CLI11 wants them
            CHECK_NOTHROW(p.app.parse(arguments));
            CHECK(static_cast<bool>(p.chosen));
        }
}

TEST_CASE("help: no line of a help text is longer than 80 columns")
{
    const program p;
    const auto help = describe(p.app);
    for (const auto* command : help.all())
        for (const auto& line : lines(to_text(*command))) {
            CAPTURE(line);
            CHECK(line.size() <= 80);
        }
}

TEST_CASE("help: a text has usage, commands, arguments, options by group, and examples")
{
    const sample s;
    CHECK(to_text(describe(s.app)) == R"(Do something.

Usage: sample --out FILE [OPTION...] COMMAND PATH

Commands:
  part                    Do a part

Arguments:
  PATH                    where it goes

How:
  -s, --speed slow|fast|N
                          how fast [slow]

Options:
  --out FILE              where the rest goes (required)

General options:
  -h, --help              Print this help message and exit

`sample COMMAND --help` says more about a command.
)");
}

TEST_CASE("help: a command lists the options that it takes for the one above it")
{
    const sample s;
    const auto part = describe(s.app).commands.front();
    CHECK(part.name == "sample part");
    CHECK(part.page_name() == "sample-part");
    CHECK(part.details == "It takes its time.");
    std::set<std::string> names;
    for (const auto& option : part.options) {
        CHECK((option.group == "Options of sample" || option.names.back() == "--help"));
        names.insert(option.names.back());
    }
    CHECK(names == std::set<std::string>{"--speed", "--out", "--help"});
}

TEST_CASE("help: a man page says the same, in roff")
{
    sample s;
    s.app.footer("# with a dot\n.\n'quoted' back\\slash");
    const auto page = to_man_page(describe(s.app), "sample 1.0");
    CAPTURE(page);
    CHECK(page.starts_with(".TH SAMPLE 1 "));
    CHECK(page.find("sample \\- Do something\n") != std::string::npos);
    CHECK(page.find("\\fB\\-s\\fR, \\fB\\-\\-speed\\fR \\fBslow\\fR|\\fBfast\\fR|\\fIN\\fR\nhow fast.\n") !=
          std::string::npos);
    CHECK(page.find("\\fBsample\\-part\\fR(1)") != std::string::npos);
    CHECK(page.find("\n\\&.\n\\&'quoted' back\\eslash\n") != std::string::npos); // neither is a request
    CHECK(page.find("secret") == std::string::npos);
    CHECK(page.find("hidden") == std::string::npos);
}
