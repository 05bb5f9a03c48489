/* A program that shows what reaches it. "probe args …": its arguments as the C runtime split them, each ended by a NUL, in
   UTF-8. "probe lines FILE": each line of a UTF-16 file split by CommandLineToArgvW, lines ended by a second NUL.
   "probe raw FILE": starts the command line that is in a UTF-16 file, as it is. "probe say STATUS TEXT": TEXT in UTF-8 on stdout, a complaint on stderr, and that status. "probe pid FILE [child]":
   writes its process id into FILE, starts a child that does the same, and sleeps. "probe ansi": bytes that are no UTF-8.
   "probe pour": output without end. "probe set EVENT": sets an event that another program waits for. */
#include <windows.h> /* before the others, which need it */

#include <fcntl.h>
#include <io.h>
#include <shellapi.h>
#include <stdio.h>
#include <wchar.h>

static void put(const wchar_t *text, int ending)
{
    static char bytes[400000];
    int size = WideCharToMultiByte(CP_UTF8, 0, text, -1, bytes, sizeof bytes, NULL, NULL);
    fwrite(bytes, 1, size - 1 + ending, stdout); /* with its NUL, or without */
}

static int lines(const wchar_t *path)
{
    FILE *file = _wfopen(path, L"rb");
    static wchar_t text[4000000];
    size_t size = fread(text, sizeof *text, 3999999, file);
    wchar_t *line = text;
    text[size] = 0;
    while (*line) { /* lines end with U+0001, which no argument of the test holds */
        int count;
        wchar_t *end = wcschr(line, 1), **argv;
        *end = 0;
        argv = CommandLineToArgvW(line, &count);
        for (int n = 1; n < count; n++)
            put(argv[n], 1);
        putchar(1);
        putchar(0);
        LocalFree(argv);
        line = end + 1;
    }
    return 0;
}

static int raw(const wchar_t *path)
{
    FILE *file = _wfopen(path, L"rb");
    static wchar_t line[32768];
    STARTUPINFOW startup = {sizeof startup};
    PROCESS_INFORMATION process;
    line[fread(line, sizeof *line, 32767, file)] = 0;
    if (!CreateProcessW(NULL, line, NULL, NULL, TRUE, 0, NULL, NULL, &startup, &process))
        return 1;
    return WaitForSingleObject(process.hProcess, INFINITE);
}

static int family(int argc, wchar_t **argv)
{
    FILE *file = _wfopen(argv[2], L"ab");
    fprintf(file, "%lu\n", GetCurrentProcessId());
    fclose(file);
    if (argc < 4) {
        static wchar_t line[4096];
        STARTUPINFOW startup = {sizeof startup};
        PROCESS_INFORMATION process;
        swprintf(line, 4096, L"probe pid \"%ls\" child", argv[2]);
        CreateProcessW(NULL, line, NULL, NULL, FALSE, 0, NULL, NULL, &startup, &process);
    }
    puts("begun");
    fflush(stdout);
    Sleep(60000);
    return 0;
}

int wmain(int argc, wchar_t **argv)
{
    _setmode(1, _O_BINARY);
    if (argc < 2)
        return 2;
    if (!wcscmp(argv[1], L"args"))
        for (int n = 2; n < argc; n++)
            put(argv[n], 1);
    if (!wcscmp(argv[1], L"lines"))
        return lines(argv[2]);
    if (!wcscmp(argv[1], L"raw"))
        return raw(argv[2]);
    if (!wcscmp(argv[1], L"pid"))
        return family(argc, argv);
    if (!wcscmp(argv[1], L"ansi"))
        fwrite("gr\xfc\xdf" "e\r\n", 1, 7, stdout);
    if (!wcscmp(argv[1], L"say")) {
        put(argv[3], 0);
        fputs("a complaint\n", stderr);
        return wcstol(argv[2], NULL, 0);
    }
    if (!wcscmp(argv[1], L"set"))
        return !SetEvent(OpenEventW(EVENT_MODIFY_STATE, FALSE, argv[2]));
    while (!wcscmp(argv[1], L"pour"))
        if (puts("more") < 0)
            return 1;
    return 0;
}
