"""Names of nobody: given and family names as they are common in many places, to be put together by chance.

Every name has at least three letters, so that the words of a value can be avoided when one is chosen for it.
"""

from __future__ import annotations


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split())


GIVEN_NAMES = _names(
    """
    Abena Adaeze Agnes Ahmet Aiko Aino Alba Aleksander Amina Anouk Antoine Aoife Arjun Astrid Ayşe Beatriz Benedikt Björn
    Bogdan Bronwen Camille Carmen Catarina Chiara Chinedu Clara Daiki Dariusz Deniz Dimitra Eilidh Elena Elif Emeka Esra Fatou
    Federico Fionn Frieda Gabriela Giulia Goran Greta Gwen Hana Haruto Henrik Hiba Ignacio Ines Ioana Isak Jakub Jana Jens
    Joana Jovana Jürgen Kasia Katarina Kiran Kofi Kwame Lakshmi Lars Leila Linh Lorenzo Lucía Magda Maëlle Malik Marek Mariam
    Matteo Mehmet Meera Milan Minh Mira Nadia Nao Nikolai Niamh Noor Oana Olamide Oskar Paloma Pavel Petra Pilar Priya Quentin
    Rafael Ravi Renske Rhys Rosa Ruta Salma Sander Sanjay Selin Sigrid Sofia Soren Stefan Sunniva Tadeusz Tamar Thiago Tiago
    Tomasz Ulla Valentina Vikram Wanjiru Wout Xavier Yara Yasmin Yuki Zainab Zofia Zoran
    """
)
FAMILY_NAMES = _names(
    """
    Abara Acheampong Adeyemi Ahlberg Albrecht Almeida Andersen Aydemir Bakker Banerjee Barbosa Bauer Bianchi Blanchard Boateng
    Borg Brandt Brennan Cabrera Castellano Chaudhry Chevalier Claes Conti Correia Costa Czerny Dahl Danso Demir Desai Dijkstra
    Dubois Duarte Eklund Esposito Evans Farrugia Ferrari Fischer Fontaine Forsberg Gallagher García Georgiou Ghosh Gruber Haddad
    Hansen Hashimoto Heikkinen Herrera Hoang Horvat Ibrahim Ilić Inoue Ivanova Jansen Jović Kamau Kaplan Karlsson Kelly Kimura
    Kowalska Krüger Kumar Laine Lambert Larsen Lehmann Lindqvist Lopes Madsen Mahlangu Marchetti Martínez Mazur Mbeki McBride
    Mensah Moreau Morgan Murakami Nagy Navarro Nguyen Nielsen Novak Nwosu Obi Okafor Oliveira Olsen Osei Papadaki Parry Patel
    Pereira Petrov Popescu Prasad Quinn Rahman Ramos Reyes Ricci Rossi Rousseau Salonen Santos Schneider Sharma Silva Sokolov
    Souza Suzuki Takahashi Tamm Teixeira Tóth Tran Uzun Vargas Verhoeven Vidal Visser Vogel Wagner Walsh Weber Wieczorek
    Williams Wójcik Yamamoto Yurdakul Zamora Zeman Zimmer
    """
)
