"""The report of a finished run: one typed model in one language, and a writer for each kind of file.

facts     everything that is asked of the run        numbers   numbers with their texts
evidence, value, meeting  the words                  build     the whole report (`model`)
html, pdf, pptx, xlsx, json  the files               traces, svg, static  figures without a browser
"""
