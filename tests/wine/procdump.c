/* Takes ProcDump's place: real minidumps by MiniDumpWriteDump, the same options and words as far as the recipe uses them.
   Its licence does not let the real one lie here. Triggers: -c and -m never happen; -h happens when an event
   "happens-PID" is set; "ProcDump-PID" ends the wait, as ProcDump's help says. */
#include <windows.h> /* before the others, which need it */

#include <dbghelp.h>
#include <stdio.h>
#include <time.h>
#include <wchar.h>

static void stamp(void)
{
    time_t now = time(NULL);
    char text[20];
    strftime(text, sizeof text, "%H:%M:%S", localtime(&now));
    printf("[%s] ", text);
}

static int write_dump(HANDLE process, DWORD pid, const wchar_t *path, MINIDUMP_TYPE kind)
{
    static const wchar_t comment[] = L"\n*** procdump64.exe  -ma 4321\n*** Manual dump";
    MINIDUMP_USER_STREAM stream = {CommentStreamW, sizeof comment, (void *)comment};
    MINIDUMP_USER_STREAM_INFORMATION streams = {1, &stream};
    HANDLE file = CreateFileW(path, GENERIC_READ | GENERIC_WRITE, 0, NULL, CREATE_ALWAYS, 0, NULL);
    DWORD began = GetTickCount(), size;
    stamp();
    printf("Dump 1 initiated: %ls\n", path);
    if (file == INVALID_HANDLE_VALUE || !MiniDumpWriteDump(process, pid, file, kind, NULL, &streams, NULL)) {
        stamp();
        printf("Dump 1 error: Error writing dump file: 0x%08lx\nIt could not be written. (0x%08lx)\n", GetLastError(), GetLastError());
        return 1;
    }
    size = GetFileSize(file, NULL);
    CloseHandle(file);
    stamp();
    printf("Dump 1 writing: Estimated dump file size is %lu MB.\n", size / 1000000);
    stamp();
    printf("Dump 1 complete: %lu MB written in %.1f seconds\n", size / 1000000, (GetTickCount() - began) / 1000.0);
    stamp();
    printf("Dump count reached.\n\n");
    return 0;
}

int wmain(int argc, wchar_t **argv)
{
    MINIDUMP_TYPE kind = MiniDumpNormal;
    int accepted = 0, waits = 0;
    DWORD pid = 0;
    wchar_t name[40], *path = L"";
    HANDLE process, events[3];
    setvbuf(stdout, NULL, _IONBF, 0);
    printf("\nProcDump v11.0 - Sysinternals process dump utility\nCopyright (C) 2009-2022 Mark Russinovich and Andrew Richards\n"
           "Sysinternals - www.sysinternals.com\n\n");
    for (int n = 1; n < argc; n++) {
        accepted |= !wcscmp(argv[n], L"-accepteula");
        if (!wcscmp(argv[n], L"-ma"))
            kind = MiniDumpWithFullMemory;
        waits |= wcslen(argv[n]) == 2 && wcschr(L"cmhet", argv[n][1]) != NULL;
        if (wcschr(L"cmsnr", argv[n][1]) && wcslen(argv[n]) == 2 && argv[n][0] == '-')
            n++;
        else if (argv[n][0] != '-' && !pid)
            pid = _wtoi(argv[n]);
        else if (argv[n][0] != '-')
            path = argv[n];
    }
    while (!accepted) /* as the dialog that nobody sees does */
        Sleep(1000);
    if (!(process = OpenProcess(PROCESS_ALL_ACCESS, FALSE, pid))) {
        printf(GetLastError() == ERROR_ACCESS_DENIED ? "Error opening process: Access is denied. (0x00000005, 5)\n"
                                                     : "No process matching the specified PID can be found.\n");
        return 1;
    }
    if (waits) {
        printf("Press Ctrl-C to end monitoring without terminating the process.\n\n");
        events[0] = process;
        swprintf(name, 40, L"ProcDump-%lu", pid);
        events[1] = CreateEventW(NULL, TRUE, FALSE, name);
        swprintf(name, 40, L"happens-%lu", pid);
        events[2] = CreateEventW(NULL, TRUE, FALSE, name);
        switch (WaitForMultipleObjects(3, events, FALSE, INFINITE)) {
        case WAIT_OBJECT_0:
            stamp();
            printf("The process has exited.\n");
            return 1;
        case WAIT_OBJECT_0 + 1:
            stamp();
            printf("Dump count not reached.\n");
            return 1;
        }
    }
    return write_dump(process, pid, path, kind);
}
