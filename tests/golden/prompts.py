"""Records of the six tasks, and their released prompts, to the character."""

FDA = {
    'text': '\nK160702 is an immunoassay by Phadia.\n',
    'key': 'applicant',
    'value': 'Phadia',
}
SWDE = {
    'text': '\nHeat (1995) | Michael Mann\n...Director:director:'
    'Summary of information above... Director: Michael Mann',
    'key': 'director',
    'value': 'Michael Mann',
}
SQUAD = {
    'text': ' Title: Rhine\nBackground: It is 1,230 km long.\n'
    'Question: How long? The Rhine is ',
    'context': 'Title: Rhine\nBackground: It is 1,230 km long.\n'
    'Question: How long?',
    'question': 'How long is the Rhine?',
    'value': '1,230 km',
}
CLOZE = {
    'context': '[DOC] [TLE] Rhine [PAR] It is 1,230 km long.. The Rhine is ',
    'question': 'The Rhine is',
    'orig_question': 'how long is the rhine:',
    'answers': ['1,230 km'],
}

# (task, record): the default prompt and the one that reads twice.
RELEASED = {
    'fda': (
        FDA,
        'K160702 is an immunoassay by Phadia. Applicant:',
        'Information about Applicant. K160702 is an immunoassay by Phadia.\n'
        'K160702 is an immunoassay by Phadia. Applicant:',
    ),
    'swde': (
        SWDE,
        'Heat (1995) | Michael Mann\n. Director:',
        'Information about Director. Heat (1995) | Michael Mann.\n'
        'Heat (1995) | Michael Mann. Director:',
    ),
    'squad': (
        SQUAD,
        'Title: Rhine\nBackground: It is 1,230 km long.\n'
        'Question: How long? The Rhine is',
        'How long is the Rhine? Title: Rhine\nBackground: It is 1,230 km long.'
        '\n\nTitle: Rhine\nBackground: It is 1,230 km long.\n'
        'Question: How long? The Rhine is',
    ),
    'nq': (
        CLOZE,
        '[DOC] [TLE] Rhine [PAR] It is 1,230 km long. The Rhine is',
        'how long is the rhine [DOC] [TLE] Rhine [PAR] It is 1,230 km long.\n'
        '[DOC] [TLE] Rhine [PAR] It is 1,230 km long. The Rhine is',
    ),
    'triviaqa': (
        CLOZE,
        'Rhine  It is 1,230 km long. The Rhine is',
        'how long is the rhine: Rhine  It is 1,230 km long.\n'
        'Rhine  It is 1,230 km long. The Rhine is',
    ),
    'drop': (
        CLOZE,
        '[DOC] [TLE] Rhine [PAR] It is 1,230 km long. The Rhine is',
        'how long is the rhine [DOC] [TLE] Rhine [PAR] It is 1,230 km long.\n'
        '[DOC] [TLE] Rhine [PAR] It is 1,230 km long. The Rhine is',
    ),
}
